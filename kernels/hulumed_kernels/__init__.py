"""Memory-bound steps of Hulu-Med as Triton kernels, each beside its plain PyTorch reference. Read `../README.md`."""
