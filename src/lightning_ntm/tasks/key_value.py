"""Key-value retrieval (Csordas and Schmidhuber 2019)."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from lightning_ntm.checks import at_least, between, ordered
from lightning_ntm.tasks.answers import Bits
from lightning_ntm.tasks.base import Task
from lightning_ntm.tasks.batch import Batch


@dataclass(frozen=True)
class KeyValue(Task):
    """See pairs of a key and a value, then the keys alone in another order; give the value of each.

    The value is asked for in the step that shows its key. The keys of an episode differ; values are drawn
    independently. The definition is that of the code of Csordas and Schmidhuber (ICLR 2019,
    github.com/RobertCsordas/dnc, `Dataset/Bitmap/KeyValue.py`), with these differences: there the pairs are sorted by
    key, here their order is random; there a second delimiter follows the last query; there the loss also counts the
    steps before the first query, with zeros as targets.

    Args:
        key_bits: Width of a key, at most 16.
        value_bits: Width of a value.
        min_pairs: Fewest pairs in training.
        max_pairs: Most pairs in training, at most as many as there are keys.
        same_length: Episodes of one batch share one number of pairs, drawn anew for each batch; otherwise each has its
            own, and shorter episodes are padded.

    Example (keys and values of 2 bits, 2 pairs; the last input channel is the delimiter):
        inputs   01100 11010 00001 11000 01000
        targets     --    --    --    01    10
    """

    kept = ("pairs",)

    key_bits: int = 6
    value_bits: int = 6
    min_pairs: int = 2
    max_pairs: int = 16
    same_length: bool = True

    def __post_init__(self) -> None:
        at_least(1, value_bits=self.value_bits, min_pairs=self.min_pairs)
        between(1, 16, key_bits=self.key_bits)
        ordered(min_pairs=self.min_pairs, max_pairs=self.max_pairs)
        self._check(self.max_pairs, "max_pairs")

    @property
    def input_size(self) -> int:
        """Bits of a key, bits of a value and the delimiter."""
        return self.key_bits + self.value_bits + 1

    @property
    def answer(self) -> Bits:
        """Bits of a value."""
        return Bits(self.value_bits)

    @property
    def difficulty(self) -> dict[str, int]:
        """Number of pairs."""
        return {"pairs": self.max_pairs}

    @property
    def evaluations(self) -> list[dict[str, int]]:
        """The most pairs of training, and twice as many where there are so many keys."""
        return [{"pairs": pairs} for pairs in sorted({self.max_pairs, min(2 * self.max_pairs, 2**self.key_bits)})]

    def sample(self, generator: np.random.Generator, batch_size: int, **difficulty: int) -> Batch:
        """Draw a batch; `pairs=N` fixes the number of pairs in every episode."""
        low, high = self.fixed(difficulty, "pairs", self.min_pairs, self.max_pairs)
        self._check(high, "pairs")
        counts = generator.integers(low, high + 1, size=1 if self.same_length else batch_size)
        counts = np.broadcast_to(counts, batch_size)[:, None]
        most = int(counts.max())
        numbers = generator.random((batch_size, 2**self.key_bits)).argsort(1)[:, :most]
        keys = (numbers[..., None] >> np.arange(self.key_bits) & 1).astype(np.float32)
        values = generator.integers(2, size=(batch_size, most, self.value_bits)).astype(np.float32)

        time = np.arange(2 * most + 1)[None]
        shown, asked = time < counts, (time > counts) & (time <= 2 * counts)  # batch time
        # Places beyond an episode's own pairs are sorted to the end: its queries are its pairs in another order.
        places = (generator.random((batch_size, most)) + (time[:, :most] >= counts)).argsort(1)
        queried = np.take_along_axis(places, ((time - counts - 1) * asked), axis=1)
        pair = np.where(asked, queried, time * shown)[..., None]  # batch time 1: the pair that a step is about

        inputs = np.zeros((batch_size, time.size, self.input_size), np.float32)
        inputs[..., : self.key_bits] = np.take_along_axis(keys, pair, axis=1) * (shown | asked)[..., None]
        inputs[..., self.key_bits : -1] = np.take_along_axis(values, pair, axis=1) * shown[..., None]
        inputs[..., -1] = time == counts
        targets = np.take_along_axis(values, pair, axis=1) * asked[..., None]
        return Batch(torch.from_numpy(inputs), torch.from_numpy(targets), torch.from_numpy(asked))

    def landmarks(self, batch: Batch) -> dict[str, Bool[Tensor, "batch time"]]:
        """Return the delimiter between pairs and queries."""
        return {"the delimiter": batch.inputs[..., -1] > 0}

    def _check(self, pairs: int, name: str) -> None:
        if pairs > 2**self.key_bits:
            raise ValueError(
                f"{name} (={pairs}) must be at most {2**self.key_bits}, the keys of key_bits (={self.key_bits}) bits."
            )
