"""The NTM kernel for GPUs: Triton programs that run whole sequences."""
