"""The equation of the tape of a Tape-RNN.

Delétang et al., "Neural Networks and the Chomsky Hierarchy" (ICLR 2023, arXiv 2207.02098), section 4 and the code of
the paper. The tape is a circle, and its slots are counted from the head: slot 0 is the cell at the head.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lightning_ntm.functional.stack import mix


def update_tape(
    tape: Float[Tensor, "*batch slots width"],
    actions: Float[Tensor, "*batch actions"],
    written: Float[Tensor, "*batch width"],
    jump: Int64[Tensor, "*batch"] | None = None,
) -> Float[Tensor, "*batch slots width"]:
    """Overwrite the cell at the head, then move the head: the mean of the tapes after each action, by their weights.

    m_i' = sum over actions of a_k n_{i + d_k}, where n is the tape with the new cell and d_k is the move of the head:
    0 to stay, -1 to the left, 1 to the right, and with `jump` -jump and jump. Indices are modulo the slots.

    Args:
        tape: At least 2 slots, that of the head first.
        actions: Weights of the actions, in this order; they sum to 1.
        written: What the cell at the head is overwritten with.
        jump: Cells of a jump. Without it there are 3 actions, else 5.

    Raises:
        ValueError: There are more or fewer actions.
    """
    expected, given = (3, "without") if jump is None else (5, "with")
    if actions.shape[-1] != expected:
        raise ValueError(f"actions must have {expected} weights {given} a jump, got {actions.shape[-1]}.")
    stay, left, right, *jumps = actions[..., None, None].unbind(-3)
    cell = written.unsqueeze(-2)
    padded = torch.cat([tape[..., -1:, :], cell, tape[..., 1:, :], cell], dim=-2)
    moved = mix(padded, left, stay, right)
    if jump is None:
        return moved
    slots = tape.shape[-2]
    jump = jump % slots  # so that no sum below is beyond the integers
    places = torch.arange(slots, device=tape.device)
    rewritten = padded.narrow(-2, 1, slots)
    for weight, cells in zip(jumps, (-jump, jump), strict=True):
        index = ((places + cells.unsqueeze(-1)) % slots).unsqueeze(-1)
        # `take_along_dim` would do without `expand_as`, but fixes the sizes in an exported program.
        moved = moved + weight * rewritten.gather(-2, index.expand_as(rewritten))
    return moved
