"""Several copies in one episode, the repeat copy of Csordas and Schmidhuber (2019)."""

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
class CopySeries(Task):
    """See a list of random bit vectors and a delimiter, give the list back with an end marker; repeat with new lists.

    A network has to forget the lists that it has given back: together they are longer than its memory. This is the
    "repeated copy" of Csordas and Schmidhuber (ICLR 2019); that of Graves et al., where one list is given back several
    times, is `RepeatCopy`. The definition is that of their code (github.com/RobertCsordas/dnc,
    `Dataset/Bitmap/CopyTask.py` and `BitmapTaskRepeater.py`), with one difference: there the loss also counts the steps
    in which lists are shown, with zeros as targets.

    Args:
        bits: Width of a vector.
        min_length: Shortest list in training.
        max_length: Longest list in training.
        min_lists: Fewest lists in an episode in training.
        max_lists: Most lists in an episode in training.
        same_length: Episodes of one batch share the number and the lengths of their lists, drawn anew for each batch;
            otherwise each has its own, and shorter episodes are padded.

    Example (2 bits, 2 lists of lengths 2 and 1; the last input channel is the delimiter, the last target channel the
    end marker):
        inputs   010 100 001 000 000 000 110 001 000 000
        targets   --  --  -- 010 100 001  --  -- 110 001
    """

    bits: int = 8
    min_length: int = 2
    max_length: int = 14
    min_lists: int = 1
    max_lists: int = 8
    same_length: bool = True

    def __post_init__(self) -> None:
        at_least(1, bits=self.bits, min_length=self.min_length, min_lists=self.min_lists)
        ordered(min_length=self.min_length, max_length=self.max_length)
        ordered(min_lists=self.min_lists, max_lists=self.max_lists)

    @property
    def input_size(self) -> int:
        """Bits and the delimiter."""
        return self.bits + 1

    @property
    def answer(self) -> Bits:
        """Bits and the end marker."""
        return Bits(self.bits + 1)

    @property
    def difficulty(self) -> dict[str, int]:
        """Length of every list and number of lists."""
        return {"length": self.max_length, "lists": self.max_lists}

    @property
    def evaluations(self) -> list[dict[str, int]]:
        """The hardest of training, then twice the length, then four times the lists."""
        length, lists = self.max_length, self.max_lists
        pairs = ((length, lists), (2 * length, lists), (length, 4 * lists))
        return [{"length": length, "lists": lists} for length, lists in pairs]

    def sample(self, generator: np.random.Generator, batch_size: int, **difficulty: int) -> Batch:
        """Draw a batch; `length=L` and `lists=N` fix what they name for every episode."""
        drawn = 1 if self.same_length else batch_size
        low, high = self.fixed(difficulty, "lists", self.min_lists, self.max_lists)
        counts = generator.integers(low, high + 1, size=drawn)[:, None]
        low, high = self.fixed(difficulty, "length", self.min_length, self.max_length)
        lengths = generator.integers(low, high + 1, size=(drawn, counts.max()))  # episodes lists
        blocks = 2 * (lengths + 1) * (np.arange(lengths.shape[1]) < counts)  # steps of each list with its answer
        ends = blocks.cumsum(1)

        time = np.arange(ends.max())[None]
        which = (time[..., None] >= ends[:, None]).sum(-1)  # episodes time: the list that a step is about
        present, which = which < counts, which.clip(max=lengths.shape[1] - 1)
        place = time - np.take_along_axis(ends - blocks, which, axis=1)  # in the list with its answer
        length = np.take_along_axis(lengths, which, axis=1)
        shown, answered = present & (place < length), present & (place > length)
        copied = answered & (place <= 2 * length)

        items = generator.integers(2, size=(batch_size, time.size, self.bits)).astype(np.float32) * shown[..., None]
        inputs = np.zeros((batch_size, time.size, self.input_size), np.float32)
        inputs[..., :-1], inputs[..., -1] = items, present & (place == length)
        source = np.broadcast_to((time - length - 1) * copied, (batch_size, time.size))
        targets = np.zeros((batch_size, time.size, self.output_size), np.float32)
        targets[..., :-1] = np.take_along_axis(items, source[..., None], axis=1) * copied[..., None]
        targets[..., -1] = answered & ~copied
        mask = np.broadcast_to(answered, (batch_size, time.size)).copy()
        return Batch(torch.from_numpy(inputs), torch.from_numpy(targets), torch.from_numpy(mask))

    def landmarks(self, batch: Batch) -> dict[str, Bool[Tensor, "batch time"]]:
        """Return the delimiters and the end markers."""
        return {"a delimiter": batch.inputs[..., -1] > 0, "an end marker": batch.mask & (batch.targets[..., -1] > 0)}
