"""No measure is known by name, but where it is declared."""

import re
from pathlib import Path

import pytest

from lightning_ntm.measures import UNCERTAIN_BITS
from lightning_ntm.tasks.answers import Numbers, Symbols

PACKAGE = Path(__file__).parents[1] / "src" / "lightning_ntm"
DECLARING = {"measures.py", "tasks/answers.py"}
MEASURES = [*UNCERTAIN_BITS.each, *Symbols(2).measures.each, *Numbers(1).measures.each]
NAMES = {measure.name for measure in MEASURES} | {measure.optimum for measure in MEASURES} - {""}


def named_in(text):
    return set(re.findall(rf"\b(?:train_|validation_)?({'|'.join(NAMES)})(?:_margin)?\b", text))


def test_measures_are_named_only_where_they_are_declared():
    texts = [path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".js", ".css", ".html", ".yaml")]
    found = {path.relative_to(PACKAGE).as_posix() for path in texts if named_in(path.read_text(encoding="utf-8"))}
    assert found == DECLARING


def test_a_name_is_found():
    assert named_in('row["validation_wrong_bits"]') == {"wrong_bits"}
    assert named_in("the `accuracy_margin` of it") == {"accuracy"}


@pytest.mark.parametrize(
    ("name", "value", "width", "phrase"),
    [
        ("wrong_bits", 2.5, 0, "2.50 wrong bits"),
        ("wrong_bits", 0.0, 6, "  0.00 wrong bits"),
        ("regret_bits", -0.003, 0, "-0.003 above the optimum"),
        ("bits_per_sequence", 0.0149, 0, "0.015 bits per sequence"),
    ],
)
def test_a_value_is_written_with_its_label(name, value, width, phrase):
    assert UNCERTAIN_BITS.named(name).phrase(value, width) == phrase
