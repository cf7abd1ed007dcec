"""How fast the kernels are: run `python kernels/benchmarks` on a machine with a GPU, read `kernels/README.md`."""
