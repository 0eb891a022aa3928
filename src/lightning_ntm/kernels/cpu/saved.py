"""Numbers of slots among what a native program saves for its backward.

They are in one buffer with numbers that may be rounded. Hooks of PyTorch may do that, to need less memory
(`torch.autograd.graph.saved_tensors_hooks`), but rounded numbers of slots are other slots.
"""

import torch
from torch import Tensor

from lightning_ntm.kernels.cpu.layout import Layout


def order_in(buffer: Tensor, layout: Layout) -> Tensor | None:
    """Return the numbers of all slots in each step of each sequence as integers; `None` if none are saved."""
    part = _part(buffer, layout)
    return None if part is None else part.to(torch.int32)


def with_order(buffer: Tensor, layout: Layout, order: Tensor) -> Tensor:
    """Return what was saved with these numbers of slots in it, which is a copy if it had others."""
    part = _part(buffer, layout)
    assert part is not None
    exact = order.to(buffer.dtype)
    if not torch.equal(part, exact):
        buffer = buffer.clone()
        part = _part(buffer, layout)
        assert part is not None
        part.copy_(exact)
    return buffer


def check_order(buffer: Tensor, layout: Layout) -> None:
    """Raise `RuntimeError` unless each row of saved numbers of slots has every slot once.

    With others the program would write beyond its arrays.
    """
    part = _part(buffer, layout)
    if part is None:
        return
    slots = part.shape[1]
    whole = (part >= 0) & (part < slots) & (part == part.floor())
    found = torch.zeros_like(part, dtype=torch.bool)
    if not whole.all() or not found.scatter_(1, part.long(), True).all():
        raise RuntimeError("the tensors saved for the backward were changed: the numbers of memory slots are others.")


def _part(buffer: Tensor, layout: Layout) -> Tensor | None:
    if layout.order is None:
        return None
    first, rows, slots = layout.order
    return buffer[first : first + rows * slots].view(rows, slots)
