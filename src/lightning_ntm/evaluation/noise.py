"""Noise in training: on the weights, for `--weight_noise`, and on the heads, for `--head_noise`.

A count that drifts a little in every time step can be right up to the training length, and is wrong beyond it. With
other weights in each batch the drift gives errors in training, so the network learns values that are constant until an
input changes them. In the same way a head whose shift is nearly 1, or whose gate is a little open, loses its position
beyond the training length. Noise on the parameters of the heads gives errors in training unless gates and shifts are
saturated.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import cycle
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from lightning_ntm.checks import between
from lightning_ntm.models.ntm_memory import HEAD_LIMIT, NTMMemory
from lightning_ntm.tasks.randomness import Split, batch_generator


class Noise:
    """Gaussian noise that is drawn for each batch.

    Args:
        deviation: Standard deviation of the noise, at least 0.
        warmup: Share of a training in which it rises linearly from 0, so that what is to be learned is not hidden; 0
            begins with all of it.
    """

    def __init__(self, deviation: float, warmup: float = 0.0):
        self.deviation, self.warmup = deviation, warmup
        self.now = deviation  # the standard deviation of the current batch

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


class WeightNoise(Noise):
    """Adds Gaussian noise to parameters for the forward and backward pass of one batch; see `Noise`."""

    def __init__(self, deviation: float, warmup: float = 0.0):
        super().__init__(deviation, warmup)
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
        source = _source(seed, "noise", number)
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


class HeadNoise(Noise):
    """Adds Gaussian noise to the parameters of the heads of an NTM, before their activations, in each step of a batch.

    It is added to gates, key strengths, shifts, sharpening and erase vectors. See `Noise`.
    """

    def drawn(self, model: Any, inputs: Tensor, seed: int, number: int) -> Tensor:
        """Return the noise of a batch, `(time, batch, numbers of an interface vector)`.

        Args:
            model: The NTM.
            inputs: Of the batch, `(batch, time, inputs)`.
            seed: Seed of the run.
            number: Number of the batch. The noise is a function of the seed, this number and the sizes.
        """
        batch, time = inputs.shape[:2]
        keys, *others = model.memory.interface_groups  # the first are keys and what is written
        noise = torch.zeros(time, batch, keys + sum(others), dtype=torch.float32, device="cpu")
        noise[..., keys:] = torch.randn(
            time, batch, sum(others), generator=_source(seed, "heads", number), dtype=torch.float32, device="cpu"
        )
        return noise.mul_(self.now).to(model.heads.weight)

    def put_on(self, model: Any, noise: Tensor) -> RemovableHandle:
        """Let each step of the next calls of a network add its noise; return what ends this.

        No kernel runs a network whose layers have hooks.
        """
        steps = cycle(noise)
        return model.heads.register_forward_hook(lambda layer, inputs, interface: interface + next(steps))

    @contextmanager
    def added(self, model: Any, noise: Tensor | None) -> Iterator[None]:
        """Add noise in a context, if there is some."""
        handle = None if noise is None else self.put_on(model, noise)
        try:
            yield
        finally:
            if handle is not None:
                handle.remove()


def check_head_noise(model: Any, deviation: float) -> None:
    """Raise `ValueError` if a network cannot have noise on its heads; 0 stands for none."""
    between(0, HEAD_LIMIT, head_noise=deviation)
    if not deviation:
        return
    if not (isinstance(getattr(model, "memory", None), NTMMemory) and isinstance(model.heads, nn.Linear)):
        raise ValueError(
            f"head_noise (={deviation}) cannot be given: {type(model).__name__} is not an NTM with the paper's memory."
        )
    if model.checkpoint_every:
        raise ValueError(f"head_noise (={deviation}) needs checkpoint_every 0, got {model.checkpoint_every}.")


def _source(seed: int, split: Split, number: int) -> torch.Generator:
    """Return the generator of the noise of a batch.

    PyTorch samples four times as fast as NumPy. Noise is always sampled on the CPU and in float32, so that it does not
    depend on device or precision. This generator keeps 32 bits of a seed.
    """
    return torch.Generator().manual_seed(int(batch_generator(seed, split, number).integers(2**63)))
