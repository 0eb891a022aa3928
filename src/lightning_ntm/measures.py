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
        near_means: Of the goal, what a run that is close has reached, as `under 1 bit of regret`; if empty, the text
            is made from `near`.
        unit: What stands after a value, as `bits of regret`; if empty, the label.
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
    near_means: str = ""
    unit: str = ""

    @property
    def quantity(self) -> str:
        """What stands after a value, as in `3 wrong bits`."""
        return self.unit or self.label

    @property
    def title(self) -> str:
        """The label without what stands in brackets, for buttons and narrow tables."""
        return self.label.partition(" (")[0] or self.label

    @property
    def close(self) -> float:
        """Of the goal, a run is close to it if a validation is better than this."""
        found = self.solved if self.near is None else self.near
        return math.nan if found is None else found

    @property
    def close_means(self) -> str:
        """Of the goal, what a run that is close has reached, in words."""
        side = "under" if self.better == "lower" else "over"
        return self.near_means or f"{side} {self.close:g} {self.quantity}"

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
    """Return a number with two decimals; with two digits if it is small, as `0.0016`; `1.24e+16` if it is long."""
    if abs(value) >= LONG:
        return f"{value:.3g}"
    return f"{value:z.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:z.2g}"


LONG = 1e15  # numbers from here on are written with an exponent


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

    @property
    def ordered(self) -> tuple[Measure, ...]:
        """All measures in the order of tables: the goal comes first, the measure with an optimum last."""
        return tuple(sorted(self.each, key=lambda measure: (measure != self.goal, bool(measure.optimum))))

    @property
    def with_optimum(self) -> Measure | None:
        """The measure whose best possible value is known, if there is one."""
        return next((measure for measure in self.each if measure.optimum), None)

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
            each = tuple(_measure(one) for one in value["measures"])
            measures = cls(each, _text(value["without_error"]))
        except (TypeError, KeyError) as error:
            raise ValueError(f"it does not declare measures ({error}).") from None
        _check_together(measures)
        return measures


_MOST = 16
_NAME = re.compile(r"[a-z][a-z0-9_]{0,49}")
_TEXT = 500  # characters
LARGEST_MEASURE = 1e100  # of numbers beyond, the squares are infinite, and no figure can be drawn
#: What else is measured, or tells one row of a table from another.
_TAKEN = {"step", "sequences", "seconds", "loss", "perfect", "answer", "written"}
_TAKEN |= {"run", "model", "task", "seed", "split"}


def _measure(value: dict[str, Any]) -> Measure:
    """Return one measure, checked; a later version may tell more of it."""
    measure = Measure(**{name: value[name] for name in Measure._fields if name in value})
    if not isinstance(measure.name, str) or not _NAME.fullmatch(measure.name) or measure.name in _TAKEN:
        raise ValueError(f"a measure has the name {str(measure.name)[:50]!r}.")
    texts = (measure.label, measure.axis, measure.description, measure.optimum, measure.above)
    for text in (*texts, measure.solved_means, measure.near_means, measure.unit):
        _text(text)
    for number in (measure.chance, measure.solved, measure.near):
        if number is not None and not (type(number) in (int, float) and -LARGEST_MEASURE <= number <= LARGEST_MEASURE):
            raise ValueError(f"a threshold of {measure.name} is not a number, or is too large.")
    if measure.better not in ("lower", "higher"):
        raise ValueError(f"of {measure.name} neither lower nor higher values are better.")
    if measure.digits is not None and (type(measure.digits) is not int or abs(measure.digits) > 15):
        raise ValueError(f"the digits of {measure.name} are not a whole number up to 15.")
    return measure


def _check_together(measures: Measures) -> None:
    names = [*measures.names, *(measure.optimum for measure in measures.each if measure.optimum)]
    if not 1 <= len(measures.each) <= _MOST or len(set(names)) < len(names):
        raise ValueError(f"it must declare 1 to {_MOST} measures, each once.")
    if sum(measure.solved is not None for measure in measures.each) > 1:
        raise ValueError("more than one of its measures is the goal.")
    known = measures.with_optimum
    if len(names) > len(measures.each) + 1 or not (known is None or _NAME.fullmatch(known.optimum)):
        raise ValueError("it must name at most one optimum, in lower-case letters, digits and underscores.")
    above = {measure.above for measure in measures.each} - {""}
    if above and not (known and above == {known.name} and not known.above):
        raise ValueError("a measure is above the optimum of one that has none.")


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
        near_means="under 1 bit of regret", unit="bits of regret",
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
