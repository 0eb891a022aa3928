"""One process of a sweep trains several runs in one loop."""

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from lightning_ntm.checks import at_least
from lightning_ntm.cli.output import say
from lightning_ntm.cli.parser import parsed
from lightning_ntm.cli.streams import lasting, make_lasting
from lightning_ntm.cli.train import prepared, told_at_end
from lightning_ntm.cli.words import explained
from lightning_ntm.records.writing import open_to_write
from lightning_ntm.training.safety import InterruptionError
from lightning_ntm.training.side_by_side.member import Member
from lightning_ntm.training.side_by_side.run import SideBySideRun


def train_together(text: str) -> int:
    """Train runs side by side.

    Args:
        text: For each run, a list of its log file and of words for `ntm train`, as JSON.
    """
    make_lasting()
    with explained("--together: ", TypeError):
        runs = [(Path(log), words) for log, *words in json.loads(text)]
    members = [_member(log, words) for log, words in runs]
    try:
        with explained():
            at_least(1, together=len(members))
            run = SideBySideRun(members, members[0].options)
            run.fit()
    except InterruptionError as end:
        say(str(end))
        return 128 + end.signal
    for member in members:
        measures = member.data.task.answer.measures
        member.tell(str(member.end) if member.end else told_at_end(member.folder, measures, member.result))
    return 0 if all(member.done for member in members) else 1


def _member(log: Path, words: list[str]) -> Member:
    made = prepared(*parsed(words))
    return Member(
        *made.parts,
        made.folder,
        made.config,
        resume=made.resume,
        stop_when_solved=made.settings.stop_when_solved,
        keep_weights_every=made.settings.keep_weights_every,
        tell=_writer(log),
        command=("ntm", "train", *words),
    )


def _writer(log: Path) -> Callable[[str], None]:
    """Return what adds a text to a log file."""
    return partial(say, file=lasting(open_to_write(log, os.O_WRONLY | os.O_APPEND)))
