"""Sequences of different lengths in one batch, padded at their ends."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_ntm.states import mapped


def checked(lengths: Any, inputs: Tensor) -> list[int]:
    """Return the lengths of the sequences in a batch as integers.

    Raises:
        TypeError: They are not a tensor of int64.
        ValueError: There is not one length for each sequence, or one is not between 1 and the steps of the inputs.
    """
    batch, time, _ = inputs.shape
    if not isinstance(lengths, Tensor):
        raise TypeError(f"lengths must be a tensor of int64, got {type(lengths).__name__}.")
    if lengths.dtype != torch.int64:
        raise TypeError(f"lengths must be a tensor of int64, got {lengths.dtype}.")
    if tuple(lengths.shape) != (batch,):
        raise ValueError(f"lengths must have shape ({batch},), got {tuple(lengths.shape)}.")
    numbers: list[int] = lengths.tolist()
    for number in numbers:
        if not 1 <= number <= time:
            raise ValueError(f"lengths (={number}) must be between 1 and {time}, the steps of the inputs.")
    return numbers


def run_padded(
    program: Callable[[Tensor, Any], tuple[Tensor, Any]], inputs: Tensor, state: Any, lengths: list[int]
) -> tuple[Tensor, Any]:
    """Return `(logits, state)` of padded sequences; logits are 0 in the padding.

    The batch is sorted by length and split at the ends of sequences. Each segment runs only the sequences that have not
    ended, so nothing is computed for the padding, and any program can run the segments.

    Args:
        program: Runs whole sequences from a state.
        inputs: The padded sequences.
        state: The state before the first step.
        lengths: Steps of each sequence.
    """
    batch, time, _ = inputs.shape
    if all(length == time for length in lengths):
        return program(inputs, state)
    order = torch.tensor(sorted(range(batch), key=lengths.__getitem__, reverse=True), device=inputs.device)
    inputs, state = inputs[order], _rows(state, order)
    segments, ended, start = [], [], 0
    for end in sorted(set(lengths)):
        here, on = (sum(length > step for length in lengths) for step in (start, end))
        logits, state = program(inputs[:here, start:end], state)
        segments.append(F.pad(logits, (0, 0, 0, 0, 0, batch - here)))
        ended.append(_rows(state, slice(on, None)))
        state, start = _rows(state, slice(on)), end
    back = order.argsort()
    logits = F.pad(torch.cat(segments, dim=1), (0, 0, 0, time - start))
    return logits[back], mapped(lambda *parts: torch.cat(parts)[back], *reversed(ended))


def run_by_length(
    program: Callable[[Tensor, Any], tuple[Tensor, Any]], inputs: Tensor, state: Any, lengths: list[int]
) -> tuple[Tensor, Any]:
    """Return `(logits, state)` of padded sequences from a program that must see each sequence as a whole.

    Sequences of one length run together. The arguments are those of `run_padded`.
    """
    time = inputs.shape[1]
    if all(length == time for length in lengths):
        return program(inputs, state)
    rows = {length: [i for i, own in enumerate(lengths) if own == length] for length in sorted(set(lengths))}
    ran = [program(inputs[own, :length], _rows(state, own)) for length, own in rows.items()]
    padded = [F.pad(logits, (0, 0, 0, time - logits.shape[1])) for logits, _ in ran]
    back = torch.tensor([i for own in rows.values() for i in own], device=inputs.device).argsort()
    return torch.cat(padded)[back], mapped(lambda *parts: torch.cat(parts)[back], *(end for _, end in ran))


def _rows(state: Any, rows: Tensor | slice | list[int]) -> Any:
    return mapped(lambda part: part[rows], state)
