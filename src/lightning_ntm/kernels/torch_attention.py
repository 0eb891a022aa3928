"""PyTorch's own fused attention in place of the plain operations of a Transformer."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_ntm.kernels.derivatives import Once
from lightning_ntm.kernels.plain import replaced, transformed


def refusal(model: Any, inputs: Tensor, state: Any) -> str | None:
    """Return why this program cannot run the call, or `None`."""
    return transformed() or replaced(model)


def run(model: Any, inputs: Tensor, state: Any) -> tuple[Tensor, Any]:
    """Return `(logits, state)` for a whole sequence."""
    return model.run_with(_attend, inputs, state)


def _attend(query: Tensor, keys: Tensor, values: Tensor, attn_mask: Tensor) -> Tensor:
    attended = F.scaled_dot_product_attention(query, keys, values, attn_mask)
    return attended if torch.compiler.is_compiling() else Once.apply(attended)
