"""Associative recall (Graves et al. 2014, section 4.3)."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from lightning_ntm.checks import at_least, ordered
from lightning_ntm.tasks.answers import Bits
from lightning_ntm.tasks.base import Task
from lightning_ntm.tasks.batch import Batch


@dataclass(frozen=True)
class AssociativeRecall(Task):
    """See a list of items, then one of them again; give the item that followed it.

    An item is a few random bit vectors, with a delimiter before the first vector. After the last vector comes the
    delimiter of the next item or of the query. The query may be any item but the last. Items are drawn independently,
    so that two may be the same: with six items of 18 bits, in one list of 17,000.

    Args:
        bits: Width of a vector.
        item_length: Vectors in an item.
        min_items: Fewest items in training, at least 2.
        max_items: Most items in training.
        same_length: Episodes of one batch share one number of items, drawn anew for each batch;
            otherwise each has its own, and shorter episodes are padded.

    Example (2 bits, 1 vector an item, 2 items; the last two input channels are the delimiters of items
    and of the query):
        inputs   0010 0100 0010 1100 0001 0100 0001 0000
        targets    --   --   --   --   --   --   --   11
    """

    bits: int = 6
    item_length: int = 3
    min_items: int = 2
    max_items: int = 6
    same_length: bool = True

    def __post_init__(self) -> None:
        at_least(1, bits=self.bits, item_length=self.item_length)
        at_least(2, min_items=self.min_items)
        ordered(min_items=self.min_items, max_items=self.max_items)

    @property
    def input_size(self) -> int:
        """Bits, the delimiter of items and that of the query."""
        return self.bits + 2

    @property
    def answer(self) -> Bits:
        """Bits."""
        return Bits(self.bits)

    @property
    def difficulty(self) -> dict[str, int]:
        """Number of items."""
        return {"items": self.max_items}

    @property
    def evaluations(self) -> list[dict[str, int]]:
        """From the most of training to more than three times as many: the paper's 6 to 20 (figure 11)."""
        return [
            {"items": items} for items in sorted({self.max_items * sixths // 6 for sixths in (6, 8, 10, 12, 15, 20)})
        ]

    def sample(self, generator: np.random.Generator, batch_size: int, **difficulty: int) -> Batch:
        """Draw a batch; `items=N` fixes the number of items in every episode."""
        low, high = self.fixed(difficulty, "items", self.min_items, self.max_items, minimum=2)
        counts = generator.integers(low, high + 1, size=1 if self.same_length else batch_size)
        counts = np.broadcast_to(counts, batch_size)
        asked, episodes = generator.integers(counts - 1), np.arange(batch_size)
        shape = (batch_size, counts.max(), self.item_length, self.bits)
        items = generator.integers(2, size=shape).astype(np.float32)

        # In the presentation an item is a group of one delimiter and its vectors; the query is one more
        # group, and its second delimiter stands where the next would begin.
        group = self.item_length + 1
        shown = np.zeros((batch_size, counts.max() + 2, group, self.input_size), np.float32)
        present = np.arange(counts.max()) < counts[:, None]  # batch items
        shown[:, :-2, 0, self.bits] = present
        shown[:, :-2, 1:, : self.bits] = items * present[..., None, None]
        shown[episodes, counts, 1:, : self.bits] = items[episodes, asked]
        shown[episodes, counts, 0, self.bits + 1] = 1
        shown[episodes, counts + 1, 0, self.bits + 1] = 1

        # The answer begins in that last group, after its delimiter, and fills it.
        targets = np.zeros((batch_size, counts.max() + 2, group, self.bits), np.float32)
        targets[episodes, counts + 1, 1:] = items[episodes, asked + 1]
        mask = np.zeros((batch_size, counts.max() + 2, group), bool)
        mask[episodes, counts + 1, 1:] = True
        inputs, targets = (array.reshape(batch_size, -1, array.shape[-1]) for array in (shown, targets))
        return Batch(
            torch.from_numpy(inputs), torch.from_numpy(targets), torch.from_numpy(mask.reshape(batch_size, -1))
        )

    def landmarks(self, batch: Batch) -> dict[str, Bool[Tensor, "batch time"]]:
        """Return the steps of the item that is asked for, of the one that follows it, and of the query."""
        groups = batch.inputs.unflatten(1, (-1, self.item_length + 1))  # batch groups steps inputs
        bits, is_item, asks = groups[:, :, 1:, : self.bits], groups[:, :, 0, self.bits] > 0, groups[:, :, 0, -1] > 0
        query = asks & (asks.cumsum(1) == 1)
        same = (bits == bits[query].unsqueeze(1)).all((2, 3)) & is_item
        asked = same & (same.cumsum(1) == 1)  # the first, should another item be the same
        following = asked.roll(1, dims=1) & is_item
        named = {"the item asked for": asked, "the item that follows": following, "the query": query}
        return {name: which.repeat_interleave(self.item_length + 1, dim=1) for name, which in named.items()}
