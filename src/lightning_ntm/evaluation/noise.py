"""Noise on the weights in training, for `--weight_noise`.

A count that drifts a little in every time step can be right up to the training length, and is wrong beyond it. With
other weights in each batch the drift gives errors in training, so the network learns values that are constant until an
input changes them.
"""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from lightning_ntm.tasks.randomness import batch_generator


class WeightNoise:
    """Adds Gaussian noise to parameters for the forward and backward pass of one batch.

    Args:
        deviation: Standard deviation of the noise, at least 0.
        warmup: Share of a training in which it rises linearly from 0, so that what is to be learned is not hidden; 0
            begins with all of it.
    """

    def __init__(self, deviation: float, warmup: float = 0.0):
        self.deviation, self.warmup = deviation, warmup
        self.now = deviation  # the standard deviation of the current batch
        self.clean: list[tuple[Tensor, Tensor]] = []  # each parameter with its value without noise

    def warm_up(self, step: int, all_steps: Callable[[], float]) -> None:
        """Set the standard deviation of the next batch.

        Args:
            step: The steps that are taken.
            all_steps: Returns how many steps there are; infinity for a training without a known end, whose noise does
                not rise.
        """
        if self.warmup:
            rise = self.warmup * all_steps()
            self.now = self.deviation * min(1.0, step / rise if rise < math.inf else 1.0)

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
            p.add_(noise.view_as(p).to(p), alpha=self.now)

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
