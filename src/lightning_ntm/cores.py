"""How many cores a process may use."""

import os


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """Return how many threads a program may use: one for each core, or at most `OMP_NUM_THREADS`."""
    most = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return min(cores(), int(most)) if most.isdecimal() and int(most) > 0 else cores()
