"""Settings of a run besides its network, task and Trainer."""

from dataclasses import dataclass
from typing import Literal

from lightning_ntm.checks import at_least, between, check_whole

#: Some libraries of threads end the process where they cannot start as many as they are asked for.
MOST_THREADS = 1024


@dataclass(frozen=True)
class Settings:
    """Settings of a run besides its parts.

    Args:
        name: Name of the run folder; by default network-task-seedN.
        runs: The folder that holds run folders.
        seed: Seed of the initial weights and of the episodes, at least 0.
        threads: CPU threads of PyTorch and of the CPU kernel, from 1 to 1024. With auto PyTorch uses 1, and the kernel
            as many as make it fastest, at most one for each core. Only another number of PyTorch's changes rounding,
            hence results.
        stop_when_solved: End after this many validations in a row without an error; 0 never.
        keep_weights_every: Steps between weights that are kept, for ntm explore and ntm figure --over training; 0 keeps
            none.

    Raises:
        ValueError: An argument is out of its range.
    """

    name: str | None = None
    runs: str = "runs"
    seed: int = 1
    threads: int | Literal["auto"] = "auto"
    stop_when_solved: int = 0
    keep_weights_every: int = 0

    def __post_init__(self) -> None:
        counts = {name: getattr(self, name) for name in ("seed", "stop_when_solved", "keep_weights_every")}
        check_whole(**counts)
        at_least(0, **counts)
        if self.threads != "auto":
            check_whole(threads=self.threads)
            between(1, MOST_THREADS, threads=self.threads)

    @property
    def torch_threads(self) -> int:
        """How many threads PyTorch uses."""
        return 1 if self.threads == "auto" else self.threads
