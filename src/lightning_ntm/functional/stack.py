"""The equation of a continuous stack.

Joulin and Mikolov, "Inferring Algorithmic Patterns with Stack-Augmented Recurrent Nets" (2015, arXiv 1503.01007),
section 3.2, with the third action, no-op, of their section 3.3.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def update_stack(
    stack: Float[Tensor, "*batch slots width"],
    actions: Float[Tensor, "*batch 3"],
    pushed: Float[Tensor, "*batch width"],
) -> Float[Tensor, "*batch slots width"]:
    """Return the mean of the stacks after a push, a pop and no action, by the weights of the actions.

    s_i' = a_push s_{i-1} + a_pop s_{i+1} + a_noop s_i, where s_{-1} is the pushed vector, and below the last slot there
    are zeros. A push removes the content of the last slot from the stack.

    Args:
        stack: The top in slot 0.
        actions: Weights of push, pop and no-op; they sum to 1.
        pushed: The vector to push.
    """
    below = torch.zeros_like(pushed).unsqueeze(-2)
    padded = torch.cat([pushed.unsqueeze(-2), stack, below], dim=-2)
    push, pop, noop = actions[..., None, None].unbind(-3)
    return mix(padded, push, noop, pop)


def mix(
    padded: Float[Tensor, "*batch padded width"],
    before: Float[Tensor, "*batch 1 1"],
    same: Float[Tensor, "*batch 1 1"],
    after: Float[Tensor, "*batch 1 1"],
) -> Float[Tensor, "*batch slots width"]:
    """Return for each slot the sum of the slot before it, its own and the slot after it, with these weights.

    Args:
        padded: The slots, with one more at either end.
        before: Weight of the slot before.
        same: Weight of the same slot.
        after: Weight of the slot after.
    """
    slots = padded.shape[-2] - 2
    first, own, last = (padded.narrow(-2, start, slots) for start in range(3))
    return torch.addcmul(torch.addcmul(first * before, own, same), last, after)
