"""Training with noise on the weights, as `--weight_noise` asks.

A count that creeps a little in every step is right for as long as episodes are no longer than those of training, and
wrong beyond. With other weights in each batch what creeps is never right: what a network learns then are values that
stay where they are until something moves them.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from lightning_ntm.tasks.randomness import batch_generator


class WeightNoise:
    """Puts Gaussian noise on parameters for the forward and the backward of one batch.

    Args:
        deviation: Its standard deviation, at least 0.
    """

    def __init__(self, deviation: float):
        self.deviation = deviation
        self.clean: list[tuple[Tensor, Tensor]] = []  # each parameter, and what it is without

    @torch.no_grad()
    def put_on(self, parameters: Iterable[nn.Parameter], seed: int, number: int) -> None:
        """Add the noise of a batch, first taking off what is on.

        Args:
            parameters: Those that are trained get noise.
            seed: Of the run.
            number: Of the batch; the noise is, like its episodes, a function of the seed and this number.
        """
        self.take_off()
        self.clean = [(p, p.clone()) for p in parameters if p.requires_grad]
        # Drawn by PyTorch, four times as fast as by NumPy, always on the CPU and in float32, so that it is the same
        # wherever and in whatever precision it is trained. Of a seed that generator keeps 32 bits.
        source = torch.Generator().manual_seed(int(batch_generator(seed, "noise", number).integers(2**63)))
        sizes = [p.numel() for p, _ in self.clean]
        gpu = next((p.device for p, _ in self.clean if p.is_cuda), None)
        drawn = torch.randn(sum(sizes), generator=source, dtype=torch.float32, device="cpu", pin_memory=gpu is not None)
        if gpu is not None:
            drawn = drawn.to(gpu, non_blocking=True)  # all at once, and without waiting for what the GPU has to do
        for (p, _), noise in zip(self.clean, drawn.split(sizes), strict=True):
            p.add_(noise.view_as(p).to(p), alpha=self.deviation)

    @torch.no_grad()
    def take_off(self) -> None:
        """Set the parameters to what they were, to the last bit."""
        for p, clean in self.clean:
            p.copy_(clean)
        self.clean = []

    def without(self, named: Iterable[tuple[str, nn.Parameter]]) -> dict[str, Tensor]:
        """Return those of some parameters, by name, that have noise now, as they are without."""
        clean = {id(p): values for p, values in self.clean}
        return {name: clean[id(p)] for name, p in named if id(p) in clean}
