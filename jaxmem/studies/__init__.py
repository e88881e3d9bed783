"""Studies: one file each, a frozen configuration and `run(config)` that returns labelled results."""
