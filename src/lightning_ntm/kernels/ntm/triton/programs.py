"""The two programs that run a whole sequence."""

from lightning_ntm.kernels.ntm.triton.backward import backward
from lightning_ntm.kernels.ntm.triton.forward import forward

__all__ = ["backward", "forward"]
