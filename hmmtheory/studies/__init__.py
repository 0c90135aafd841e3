"""Theory against simulation on grids of settings, in studies that survive kills."""
