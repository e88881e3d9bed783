"""What jaxmem costs, beside what it must cost and what its peers cost: `python -m benchmarks --help`."""
