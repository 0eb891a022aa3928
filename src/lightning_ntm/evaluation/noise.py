"""Noise on the weights in training, for `--weight_noise`.

A count that drifts a little in every time step can be right up to the training length, and is wrong beyond it. With
other weights in each batch the drift gives errors in training, so the network learns values that are constant until an
input changes them.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from lightning_ntm.tasks.randomness import batch_generator


class WeightNoise:
    """Adds Gaussian noise to parameters for the forward and backward pass of one batch.

    Args:
        deviation: Standard deviation of the noise, at least 0.
    """

    def __init__(self, deviation: float):
        self.deviation = deviation
        self.clean: list[tuple[Tensor, Tensor]] = []  # each parameter with its value without noise

    @torch.no_grad()
    def put_on(self, parameters: Iterable[nn.Parameter], seed: int, number: int) -> None:
        """Remove the current noise, then add the noise of a batch.

        Args:
            parameters: Parameters. Those with `requires_grad` get noise.
            seed: Seed of the run.
            number: Number of the batch. Like its episodes, the noise is a function of the seed and this number.
        """
        self.take_off()
        self.clean = [(p, p.clone()) for p in parameters if p.requires_grad]
        # PyTorch samples four times as fast as NumPy. Noise is always sampled on the CPU and in float32, so that it
        # does not depend on device or precision. This generator keeps 32 bits of a seed.
        source = torch.Generator().manual_seed(int(batch_generator(seed, "noise", number).integers(2**63)))
        sizes = [p.numel() for p, _ in self.clean]
        gpu = next((p.device for p, _ in self.clean if p.is_cuda), None)
        drawn = torch.randn(sum(sizes), generator=source, dtype=torch.float32, device="cpu", pin_memory=gpu is not None)
        if gpu is not None:
            drawn = drawn.to(gpu, non_blocking=True)  # one copy, which does not wait for the GPU's queue
        for (p, _), noise in zip(self.clean, drawn.split(sizes), strict=True):
            p.add_(noise.view_as(p).to(p), alpha=self.deviation)

    @torch.no_grad()
    def take_off(self) -> None:
        """Restore the parameters to the same bits."""
        for p, clean in self.clean:
            p.copy_(clean)
        self.clean = []

    def without(self, named: Iterable[tuple[str, nn.Parameter]]) -> dict[str, Tensor]:
        """Return, by name, the values without noise of those parameters that have noise now."""
        clean = {id(p): values for p, values in self.clean}
        return {name: clean[id(p)] for name, p in named if id(p) in clean}
