"""What the design costs and gains, measured: run `python -m benchmarks`, read `benchmarks/README.md`."""
