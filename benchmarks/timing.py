"""What `cells.py` and `dnc.py` share."""

import time
from collections.abc import Callable

from torch import Tensor


def milliseconds(programs: dict[str, Callable[[], Tensor]], repeats: int) -> dict[str, float]:
    """Return the lowest CPU time of forward and backward of each program; they alternate."""
    best = dict.fromkeys(programs, float("inf"))
    for repeat in range(repeats + 1):
        for name, program in programs.items():
            start = time.process_time()
            program().square().mean().backward()
            if repeat:
                best[name] = min(best[name], 1000 * (time.process_time() - start))
    return best
