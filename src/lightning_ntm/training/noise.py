"""Training with noise on the weights, as `--weight_noise` asks.

A count that creeps a little in every step is right for as long as episodes are no longer than those of training, and
wrong beyond. With other weights in each batch what creeps is never right: what a network learns then are values that
stay where they are until something moves them.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from lightning_ntm.training.episodes import batch_generator


class WeightNoise:
    """Puts Gaussian noise on parameters for the forward and the backward of one batch.

    Args:
        deviation: Its standard deviation.
    """

    def __init__(self, deviation: float):
        self.deviation = deviation
        self.clean: list[tuple[Tensor, Tensor]] = []  # each parameter, and what it is without

    @torch.no_grad()
    def put_on(self, parameters: Iterable[nn.Parameter], seed: int, number: int) -> None:
        """Add the noise of the batch of this number: like its episodes, a function of the seed and that."""
        self.take_off()
        self.clean = [(p, p.clone()) for p in parameters if p.requires_grad]
        # Drawn by PyTorch, four times as fast as by NumPy; two batches in 2**63 have the same.
        source = torch.Generator().manual_seed(int(batch_generator(seed, "noise", number).integers(2**63)))
        drawn = torch.randn(sum(p.numel() for p, _ in self.clean), generator=source)
        for (p, _), noise in zip(self.clean, drawn.split([p.numel() for p, _ in self.clean]), strict=True):
            p.add_(noise.view_as(p).to(p), alpha=self.deviation)

    @torch.no_grad()
    def take_off(self) -> None:
        """Set the parameters to what they were, to the last bit."""
        for p, clean in self.clean:
            p.copy_(clean)
        self.clean = []
