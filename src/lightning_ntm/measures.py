"""What is measured of the answers to a task, as a run declares it in its folder. Needs no PyTorch.

A task's answer says what its measures are. A run writes that into `measures.json`. Whatever reads a run (the report, a
sweep's table, the command line) takes names, labels and thresholds from there, and knows no measure by name.
"""

import math
import re
from typing import Any, Literal, NamedTuple


class Measure(NamedTuple):
    """One measure of an answer, a number for each episode.

    Args:
        name: In files, as `wrong_bits`: lower-case letters, digits and underscores.
        label: In tables and messages, as `wrong bits`.
        axis: On the axis of a figure, with its unit, as `wrong bits per sequence`.
        description: One sentence.
        better: Which values are better.
        chance: What guessing reaches per unit of an answer (a bit, a symbol, a number); `None` if that is not known.
        solved: A run has learned the task if its best validation is at least as good as this. At most one measure of
            an answer has it: it is the goal.
        near: A run is close to the goal if a validation is better than this.
        digits: Decimals to which values are rounded before two networks are compared; `None` for no rounding.
        optimum: Where the best possible value of each episode is known, the name of its column; else empty.
        above: Of a measure that is another one minus its optimum, the name of that one; else empty.
        solved_means: Of the goal, a sentence about a run that is solved.
    """

    name: str
    label: str
    axis: str
    description: str
    better: Literal["lower", "higher"] = "lower"
    chance: float | None = None
    solved: float | None = None
    near: float | None = None
    digits: int | None = None
    optimum: str = ""
    above: str = ""
    solved_means: str = ""

    def rank(self, value: float) -> float:
        """Return a number that is lower for better values; infinity for NaN."""
        if math.isnan(value):
            return math.inf
        rounded = value if self.digits is None else round(value, self.digits)
        return rounded if self.better == "lower" else -rounded

    def reaches(self, value: float, threshold: float | None) -> bool:
        """Return whether a value is at least as good as a threshold; never where there is none."""
        if threshold is None or math.isnan(value):
            return False
        return value <= threshold if self.better == "lower" else value >= threshold

    def phrase(self, value: float, width: int = 0) -> str:
        """Return a value with its label, as `0.25 wrong bits` or `1.50 above the optimum`.

        Args:
            value: The number.
            width: Characters to which the number is padded on the left.
        """
        return f"{brief(value):>{width}} {'above the optimum' if self.above else self.label}"


def brief(value: float) -> str:
    """Return a number with two decimals; with two digits if it is small, as `0.0016`."""
    return f"{value:.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:.2g}"


class Measures(NamedTuple):
    """All measures of an answer.

    Args:
        each: The first judges: the weights that are best by it are kept. Where two are equal the next ones decide.
        without_error: What an episode without an error is called in the plural, as `sequences without a wrong bit`.
    """

    each: tuple[Measure, ...]
    without_error: str

    def named(self, name: str) -> Measure:
        """Return the measure of a name.

        Raises:
            KeyError: There is none.
        """
        for measure in self.each:
            if measure.name == name:
                return measure
        raise KeyError(name)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all measures."""
        return tuple(measure.name for measure in self.each)

    @property
    def goal(self) -> Measure | None:
        """The measure that tells when a run has learned its task, if one does."""
        return next((measure for measure in self.each if measure.solved is not None), None)

    def rank(self, values: dict[str, float]) -> list[float]:
        """Return numbers that compare as networks do: the list of the better one is lower."""
        own = [measure for measure in self.each if not measure.above and measure.name in values]
        return [measure.rank(values[measure.name]) for measure in own]

    def as_object(self) -> dict[str, Any]:
        """Return what `measures.json` holds."""
        return {"measures": [measure._asdict() for measure in self.each], "without_error": self.without_error}

    @classmethod
    def from_object(cls, value: Any) -> "Measures":
        """Return what `as_object` gave, checked: a run folder may come from anybody.

        Raises:
            ValueError: It is something else.
        """
        try:
            each = tuple(_checked(Measure(**one)) for one in value["measures"])
            measures = cls(each, _text(value["without_error"]))
        except (TypeError, KeyError) as error:
            raise ValueError(f"it does not declare measures ({error}).") from None
        if not 1 <= len(each) <= _MOST or len(set(measures.names)) < len(each):
            raise ValueError(f"it must declare 1 to {_MOST} measures, each once.")
        return measures


_MOST = 16
_NAME = re.compile(r"[a-z][a-z0-9_]{0,49}")
_TEXT = 500  # characters


def _checked(measure: Measure) -> Measure:
    names = [measure.name, *(name for name in (measure.optimum, measure.above) if name)]
    if not all(isinstance(name, str) and _NAME.fullmatch(name) for name in names):
        raise ValueError(f"a measure has the name {str(names[0])[:50]!r}.")
    for text in (measure.label, measure.axis, measure.description, measure.solved_means):
        _text(text)
    numbers = [number for number in (measure.chance, measure.solved, measure.near) if number is not None]
    if not all(type(number) in (int, float) and math.isfinite(number) for number in numbers):
        raise ValueError(f"a threshold of {measure.name} is no finite number.")
    if measure.better not in ("lower", "higher") or type(measure.digits) not in (int, type(None)):
        raise ValueError(f"{measure.name} is not declared rightly.")
    return measure


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > _TEXT or not value.isprintable():
        raise ValueError("a text in it is too long, or not printable.")
    return value


def uncertain(measures: Measures, cost: str) -> Measures:
    """Return the measures of answers that nobody can know, but whose best possible cost is known.

    Args:
        measures: Of an answer that follows from what was shown.
        cost: The measure, in bits, whose optimum is known. It judges; the goal is to come close to the optimum.
    """
    others = tuple(
        measure._replace(solved=None, near=None, solved_means="") for measure in measures.each if measure.name != cost
    )
    regret = Measure(
        "regret_bits", "regret (bits)", "regret (bits above the optimum)",
        "Bits per sequence above those of the best possible network, on the same sequences.",
        solved=1.0, near=1.0, above=cost,
        solved_means="Its best validation cost at most one bit more than the optimum.",
    )  # fmt: skip
    return Measures((measures.named(cost)._replace(optimum="optimal_bits"), *others, regret), measures.without_error)


#: Cross-entropy.
BITS_PER_SEQUENCE = Measure(
    "bits_per_sequence", "bits per sequence", "bits per sequence (cross-entropy)",
    "Cross-entropy of an answer in bits, summed over the sequence, mean over sequences.", digits=2,
)  # fmt: skip
#: Of answers in bits.
BITS = Measures(
    (
        Measure(
            "wrong_bits", "wrong bits", "wrong bits per sequence",
            "Bits of an answer on the wrong side of one half, mean over sequences.",
            chance=0.5, solved=0.0, near=0.1, solved_means="In its best validation no bit was wrong.",
        ),
        BITS_PER_SEQUENCE._replace(chance=1.0),
    ),
    "sequences without a wrong bit",
)  # fmt: skip
#: Of runs that declared nothing, since only answers in bits existed: those of tasks with a known optimum.
UNCERTAIN_BITS = uncertain(BITS, BITS_PER_SEQUENCE.name)
