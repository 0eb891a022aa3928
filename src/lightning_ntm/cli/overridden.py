"""Whether the values that tell the runs of a sweep apart are in force: other options may set the same."""

from collections.abc import Iterable, Sequence

from lightning_ntm.cli.said import Said, read
from lightning_ntm.cli.words import UsageError
from lightning_ntm.sweep.plan import Distinction, PlannedRun


def check_in_force(run: PlannedRun) -> None:
    """Raise `UsageError` if an option overrides a value of the grid, or of a named set of options.

    A value is in force if it makes no difference that its words come last. What the grid sets in a part of it, as
    `optimizer.lr` beside `optimizer`, may follow.
    """
    said = read(run.words)
    for number, distinction in enumerate(run.distinctions):
        options = [word.partition("=")[0] for word in distinction.words]
        later = run.distinctions[number + 1 :]
        parts = [other for other in later if any(_is_within(other.option, option) for option in options)]
        last = [word for one in (distinction, *parts) for word in one.words]
        if read([*_without(run.words, last), *last]).mapping != said.mapping:
            raise UsageError(_message(distinction, said, run))


def _without(words: Sequence[str], removed: Iterable[str]) -> list[str]:
    left = list(words)
    for word in removed:
        left.remove(word)
    return left


def _message(distinction: Distinction, said: Said, run: PlannedRun) -> str:
    """Return which option overrides which value."""
    gridded = {word for other in run.distinctions if other.option for word in other.words}
    for other, value in reversed(said.words):
        by = f"{other}={value}"
        for word in distinction.words if by not in distinction.words else ():
            option, _, own = word[2:].partition("=")
            within = _is_within(other, option)
            if not within and not _is_part(option, other):
                continue
            sets = f"{option} (={own}) sets {_spelled(other)}, which" if within else option
            if distinction.network:
                return f"models.{distinction.network}: {sets} is also set in options or in the grid: {by}."
            if by in gridded:
                return f"{sets} is set by two options of the grid: --{option} and {other}."
            if within:
                return (
                    f"{option} (={own}) is in the grid and sets {_spelled(other)}, so {by} cannot set it for every run."
                )
            return f"{option} is in the grid, so it cannot also have one value for every run: {by}."
    return f"{distinction.option or f'models.{distinction.network}'} is overridden by another option."


def _is_part(option: str, of: str) -> bool:
    """Return whether an option is another one, however it is spelled, or sets a part of it."""
    return f"{_spelled(option)}.".startswith(f"{_spelled(of)}.")


def _is_within(option: str, of: str) -> bool:
    """Return whether an option sets a part of another one."""
    return _is_part(option, of) and not _is_part(of, option)


def _spelled(option: str) -> str:
    return option.removeprefix("--").replace(".init_args", "").removesuffix(".class_path").removesuffix("+")
