"""The `eps` of optimizers for parameters in float16, as with `--trainer.precision 16-true`."""

import torch

#: Replaces an `eps` that is 0 in float16. The mean square of gradients below 8e-4 is also 0 in float16, and their steps
#: grow as `eps` falls. On copy, networks learn with 1e-4 as in float32. With 1e-6 they hardly learn.
HALF_EPS = 1e-4


def underflows(eps: float) -> bool:
    """Return whether an optimizer's `eps` is 0 in float16."""
    return not torch.tensor(eps, dtype=torch.float16)


def check_eps(optimizer: torch.optim.Optimizer, dtype: torch.dtype | None = None) -> None:
    """Raise `ValueError` for an `eps` that is 0 in the dtype of the parameters. The first step would divide by it.

    Args:
        optimizer: An optimizer of PyTorch, or one with the same names of settings.
        dtype: Future dtype of the parameters, if it differs from the current one.
    """
    for group in optimizer.param_groups:
        eps = group.get("eps")
        half = torch.float16 in ([dtype] if dtype else [p.dtype for p in group["params"]])
        if half and isinstance(eps, float) and underflows(eps):
            raise ValueError(
                f"eps (={eps:g}) must be at least 6e-08 in {type(optimizer).__name__} with precision 16-true: "
                f"it is 0 in float16. {HALF_EPS:g} is a good value."
            )
