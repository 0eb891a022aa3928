"""The device of a network, and reading from a GPU without waiting for queued work."""

import torch
from torch import Tensor, nn


def chosen_device(name: str) -> torch.device:
    """Return the device of this name. `auto` is the first CUDA device if there is one, else the CPU.

    Raises:
        ValueError: This machine has no such device.
    """
    count = torch.cuda.device_count()
    allowed = ["auto", "cpu", *(["cuda"] if count else []), *(f"cuda:{index}" for index in range(count))]
    if name not in allowed:
        has = f"{count or 'no'} CUDA device{'s' if count > 1 else ''}"
        raise ValueError(f"device (={name!r}) is not available: this machine has {has}; allowed: {', '.join(allowed)}.")
    if name == "auto":
        name = "cuda" if count else "cpu"
    return torch.device(name)


def device_of(model: nn.Module) -> torch.device:
    """Return the device of a network's first parameter, or the CPU for a network without parameters."""
    first = next(model.parameters(), None)
    return torch.device("cpu") if first is None else first.device


def works_ahead(device: torch.device) -> bool:
    """Return whether calls on a device are queued. Reading a number then waits for all earlier calls."""
    return device.type == "cuda"


class HostCopy:
    """Numbers that are copied from a device to the host. Reading them does not wait for work that is queued later.

    Args:
        numbers: A tensor that is not changed in place afterwards.
    """

    def __init__(self, numbers: Tensor):
        self.numbers = numbers.to("cpu", non_blocking=True)  # into pinned memory
        self.copied: torch.cuda.Event | None = None
        if numbers.is_cuda:
            self.copied = torch.cuda.Event()
            self.copied.record(torch.cuda.current_stream(numbers.device))

    def arrived(self) -> bool:
        """Return whether the numbers can be read without waiting."""
        return self.copied is None or self.copied.query()

    def read(self) -> list[float]:
        """Return the numbers."""
        if self.copied is not None:
            self.copied.synchronize()
        return self.numbers.flatten().tolist()
