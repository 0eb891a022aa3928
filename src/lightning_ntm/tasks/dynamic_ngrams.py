"""Dynamic n-grams (Graves et al. 2014, section 4.4)."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lightning_ntm.checks import at_least, at_most, ordered
from lightning_ntm.tasks.answers import Bits
from lightning_ntm.tasks.base import Task
from lightning_ntm.tasks.batch import Batch

#: Numbers in the table of next contexts that is held while bits are drawn: it stays in the caches.
_HELD = 2**16


@dataclass(frozen=True)
class DynamicNGrams(Task):
    """See random bits one by one and predict each from the bits that followed the same context before.

    Each sequence has a table of its own: for every context of n - 1 bits the probability that the next bit is 1, drawn
    from Beta(1/2, 1/2). The first n - 1 bits are 0 or 1 with equal probability. The first input is a zero, since no bit
    came before it. Each later input is the bit that had to be predicted in the step before.

    Every bit counts. The first n - 1 bits cost one bit each for every predictor. With them the best possible cost is
    about 133 bits for the paper's 200, as in its figure 13. An evaluation also reports the regret.

    Args:
        n: Bits of an n-gram: n - 1 bits of context and the next bit. In [1, 16].
        length: Bits in a sequence, at least n.

    Example (n = 3, length 6; one table gave 1 after 0 1 and 0 after everything else):
        inputs   0 0 1 1 0 0
        targets  0 1 1 0 0 0
    """

    answer = Bits(1, uncertain=True)
    kept = ()  # counts of its contexts would do, whatever the length

    n: int = 6
    length: int = 200

    def __post_init__(self) -> None:
        at_least(1, n=self.n, length=self.length)
        at_most(16, n=self.n)
        ordered(n=self.n, length=self.length)

    @property
    def input_size(self) -> int:
        """One number: the previous bit."""
        return 1

    @property
    def difficulty(self) -> dict[str, int]:
        """Length of the sequence."""
        return {"length": self.length}

    @property
    def contexts(self) -> int:
        """Entries of a sequence's table."""
        return 2 ** (self.n - 1)

    @property
    def pieces(self) -> int:
        """Ten, or one for each bit: a network learns the table within a sequence, so the cost falls over the parts."""
        return min(10, self.length)

    def sample(self, generator: np.random.Generator, batch_size: int, **difficulty: int) -> Batch:
        """Draw a batch; `length=L` fixes the length of every sequence."""
        length, _ = self.fixed(difficulty, "length", self.length, self.length, minimum=self.n)
        chances = generator.beta(0.5, 0.5, size=(batch_size, self.contexts))
        contexts = generator.integers(self.contexts, size=batch_size)  # the first n - 1 bits
        coins = contexts[:, None] >> np.arange(self.n - 1)[::-1] & 1
        drawn = self._walk(chances, contexts, generator.random((length - self.n + 1, batch_size, 1)))
        bits = np.concatenate([coins, drawn], axis=1).astype(np.float32)[..., None]

        inputs = np.zeros_like(bits)
        inputs[:, 1:] = bits[:, :-1]
        mask = torch.ones(batch_size, length, dtype=torch.bool)
        return Batch(torch.from_numpy(inputs), torch.from_numpy(bits), mask)

    def _walk(self, chances: np.ndarray, contexts: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """Return the bits, `(batch, time)`, that follow from the tables, a first context, and a number a step.

        What would come next is found at once for every step and context; the walk itself is then one
        look-up a step. Contexts of all sequences are numbered in a row, so that one look-up serves the batch.
        """
        if self.n == 1:  # a bit is read off the context it leads to, which here would have none
            chances = np.repeat(chances, 2, axis=1)
        size = chances.shape[1]
        firsts = np.arange(0, chances.size, size)  # the number of each sequence's context 0
        followers = firsts[:, None] + 2 * np.arange(size) % size  # where a 0 leads; a 1 leads to the one after
        at, path, held = firsts + contexts, [], max(1, _HELD // chances.size)
        for start in range(0, len(uniform), held):
            leads = followers + (uniform[start : start + held] < chances)  # time batch contexts
            for lead in leads.reshape(-1, chances.size):
                at = lead[at]
                path.append(at)
        return np.stack(path, axis=1) & 1

    def optimal_logits(self, batch: Batch) -> Float[Tensor, "batch time outputs"]:
        """Return the prediction of the optimal Bayesian estimator, Eq. 10 of the paper: (N1 + 1/2) / (N0 + N1 + 1).

        N0 and N1 count the zeros and ones that followed the same context so far. For the first n - 1 bits the
        prediction is 1/2.
        """
        bits = batch.targets[..., 0].cpu().numpy().astype(np.int64)
        logits, episodes = np.zeros(bits.shape), np.arange(len(bits))
        counts = np.full((len(bits), self.contexts, 2), 0.5)
        context = np.zeros(len(bits), np.int64)
        for time in range(bits.shape[1]):
            if time >= self.n - 1:
                zeros, ones = counts[episodes, context].T
                logits[:, time] = np.log(ones / zeros)
                counts[episodes, context, bits[:, time]] += 1
            context = (2 * context + bits[:, time]) % self.contexts
        return torch.from_numpy(logits)[..., None]
