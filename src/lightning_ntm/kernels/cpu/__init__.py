"""The NTM kernel for CPUs: C++ behind a PyTorch operator."""
