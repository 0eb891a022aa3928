"""What the steps of a user's sequences are: numbers or symbols to see, and bits, symbols or numbers to answer."""

from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np

from lightning_ntm.checks import at_least, at_most, one_of
from lightning_ntm.tasks.answer import Answer
from lightning_ntm.tasks.answers import Bits, Numbers, Symbols
from lightning_ntm.tasks.sequences import Sequences, numbers

Kind = Literal["bits", "symbols", "numbers"]
_KINDS = ("bits", "symbols", "numbers")
#: Beyond that many a symbol is a mistake: every step would be a list of as many numbers.
_MOST_SYMBOLS = 10**6


class Layout(NamedTuple):
    """Sizes and kinds of inputs and targets; what is `None` follows from the training sequences.

    Args:
        input_size: Numbers in a step of the inputs; `None` if they are symbols.
        input_symbols: Symbols that inputs may be; `None` if they are numbers.
        answer: What targets are.
        answer_size: Bits or numbers in a step of the targets, or symbols that they may be.
    """

    input_size: int | None
    input_symbols: int | None
    answer: Kind | None
    answer_size: int | None

    def check(self) -> None:
        """Raise `ValueError` for a value that is out of its range."""
        if self.answer is not None:
            one_of(_KINDS, answer=self.answer)
        if self.input_size is not None and self.input_symbols is not None:
            raise ValueError(
                f"input_size (={self.input_size}) is for numbers, input_symbols (={self.input_symbols}) for symbols: "
                "leave out one of them."
            )
        least = {"input_size": 1, "input_symbols": 2, "answer_size": 2 if self.answer == "symbols" else 1}
        for name, minimum in least.items():
            if (value := getattr(self, name)) is not None:
                at_least(minimum, **{name: value})
                at_most(_MOST_SYMBOLS, **{name: value})

    @property
    def complete(self) -> bool:
        """Whether nothing follows from the training sequences."""
        return None not in (self.input_size or self.input_symbols, self.answer, self.answer_size)

    def completed(self, sequences: Sequences) -> "Layout":
        """Return the layout with what is missing as the training sequences say it."""
        size, symbols, answer, answer_size = self
        if size is None and symbols is None:
            size, symbols = (
                (None, _count(sequences.inputs)) if sequences.inputs.ndim == 1 else (_size(sequences.inputs), None)
            )
        answer = answer or _kind(sequences)
        if answer_size is None:
            answer_size = _count(sequences.targets) if answer == "symbols" else _size(sequences.targets)
        found = Layout(size, symbols, answer, answer_size)
        found.check()
        return found

    def fit(self, sequences: Sequences) -> Sequences:
        """Return sequences in this layout.

        Raises:
            ValueError: They are of other sizes or kinds, or a symbol or bit is out of range.
        """
        inputs = self._fitted(sequences, "inputs", self.input_symbols, self.input_size)
        symbols = self.answer_size if self.answer == "symbols" else None
        targets = self._fitted(sequences, "targets", symbols, self.answer_size)
        if self.answer == "bits":
            wrong = ~((targets == 0) | (targets == 1)).all(axis=1)
            sequences.refuse(wrong, "targets", "bits, 0 or 1, where the mask is true")
        return replace(sequences, inputs=inputs, targets=targets)

    def _fitted(self, sequences: Sequences, name: str, symbols: int | None, size: int | None) -> np.ndarray:
        values = getattr(sequences, name)
        if symbols is not None:
            if values.ndim != 1:
                raise ValueError(f"{sequences.source}: {name} must be symbols, one integer for each step.")
            option = "input_symbols" if name == "inputs" else "answer_size"
            allowed = f"symbols from 0 to {symbols - 1} ({option}={symbols})"
            sequences.refuse((values < 0) | (values >= symbols), name, allowed)
            return values
        if _size(values) != size:
            option = "input_size" if name == "inputs" else "answer_size"
            raise ValueError(
                f"{sequences.source}: {name} have {_size(values)} numbers for each step; "
                f"they must have {size} ({option}={size})."
            )
        return numbers(sequences.source, name, values)

    def answers(self, tolerance: float) -> Answer:
        """Return what the targets are."""
        size = self.answer_size or 0
        made = {"bits": Bits, "symbols": Symbols}.get(self.answer or "")
        return made(size) if made else Numbers(size, tolerance)


def _kind(sequences: Sequences) -> Kind:
    if sequences.targets.ndim == 1:
        return "symbols"
    answers = sequences.targets[sequences.mask]
    return "bits" if ((answers == 0) | (answers == 1)).all() else "numbers"


def _count(symbols: np.ndarray) -> int:
    return max(2, int(symbols.max(initial=0)) + 1)


def _size(values: np.ndarray) -> int:
    return values.shape[1] if values.ndim == 2 else 1
