"""Stack Manipulation (Delétang et al. 2023, appendix A.3), a deterministic context-free language."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from lightning_ntm.tasks.answers import Symbols
from lightning_ntm.tasks.formal.strings import StringTask

#: A symbol from this on pushes a 0 or a 1.
POP, PUSH = 2, 3
#: The symbol after the last of an answer.
END = 2


@dataclass(frozen=True)
class StackManipulation(StringTask):
    """See a stack of bits, the bottom first, then actions on it; answer with the final stack, the top first.

    The initial stack has 1 to `length - 1` bits, and each of the other symbols is an action. Popping an empty stack
    does nothing. A string of length 1 is a stack without actions.

    Input: one symbol in each step, then `length + 1` empty steps (channel 5), which ask for the answer. Channels 0 and
    1 are the bits of the initial stack, 2 pops, 3 pushes a 0 and 4 pushes a 1.

    The answer is the final stack, then the end symbol 2, then zeros. The loss counts all `length + 1` positions.
    Measures count only those up to the end symbol, which is among them.

    Args:
        min_length: Shortest string in training.
        max_length: Longest string in training.

    Example (`_` is the empty symbol; the stack 0 1 1, push 0, pop, pop):
        inputs   0 1 1 3 2 2 _ _ _ _ _ _ _
        targets  - - - - - - 1 0 2 0 0 0 0
    """

    symbols, answer = 5, Symbols(3, end=END)
    signs = "0", "1", "pop", "push 0", "push 1"

    def draw(
        self, generator: np.random.Generator, batch_size: int, length: int
    ) -> tuple[Int64[ndarray, "batch length"], Int64[ndarray, "batch answer"]]:
        """Return stacks with actions, and the final stacks."""
        sizes = generator.integers(1, max(length, 2), size=(batch_size, 1))
        bits = generator.integers(2, size=(batch_size, length))
        actions = generator.integers(POP, PUSH + 2, size=(batch_size, length))
        strings = np.where(np.arange(length) < sizes, bits, actions)
        return strings, _final_stacks(strings)


def _final_stacks(strings: Int64[ndarray, "batch length"]) -> Int64[ndarray, "batch answer"]:
    """Return what is left of all that is pushed, the top first.

    A bit is left if the stack is never lower again than right after it was pushed.
    """
    pushed = strings != POP
    walk = np.where(pushed, 1, -1).cumsum(axis=1)
    heights = walk - np.minimum(np.minimum.accumulate(walk, axis=1), 0)  # popping an empty stack does nothing
    lowest = np.minimum.accumulate(heights[:, ::-1], axis=1)[:, ::-1]  # from each step to the last
    rows, steps = np.nonzero(pushed & (heights == lowest))
    answers = np.zeros((len(strings), strings.shape[1] + 1), np.int64)
    final = heights[:, -1]
    answers[rows, final[rows] - heights[rows, steps]] = np.where(strings >= PUSH, strings - PUSH, strings)[rows, steps]
    answers[np.arange(len(strings)), final] = END
    return answers
