"""Your own frozen features: predict, measure, choose and diagnose a linear head."""
