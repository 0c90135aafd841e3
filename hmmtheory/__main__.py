"""``python -m hmmtheory``: the command line of :mod:`hmmtheory.practice.command`."""

import sys

from hmmtheory.practice.command import main

if __name__ == "__main__":
    sys.exit(main())
