"""What an optimiser needs where parameters are in float16, as with `--trainer.precision 16-true`."""

import torch

#: Replaces an `eps` that is 0 in float16. The average of the squares of gradients below 8e-4 is 0 there as well, and
#: their steps grow as `eps` falls. On copy, networks learn with 1e-4 as in float32, and hardly with 1e-6.
HALF_EPS = 1e-4


def underflows(eps: float) -> bool:
    """Return whether an optimiser's `eps` is 0 in float16."""
    return not torch.tensor(eps, dtype=torch.float16)


def check_eps(optimizer: torch.optim.Optimizer, dtype: torch.dtype | None = None) -> None:
    """Raise `ValueError` for an `eps` that is 0 in the dtype of the parameters: the first step would divide by it.

    Args:
        optimizer: One of PyTorch's, or with the same names.
        dtype: That the parameters are going to have, if it is not that which they have.
    """
    for group in optimizer.param_groups:
        eps = group.get("eps")
        half = torch.float16 in ([dtype] if dtype else [p.dtype for p in group["params"]])
        if half and isinstance(eps, float) and underflows(eps):
            raise ValueError(
                f"eps (={eps:g}) must be at least 6e-08 in {type(optimizer).__name__} with precision 16-true: "
                f"it is 0 in float16. {HALF_EPS:g} is a good value."
            )
