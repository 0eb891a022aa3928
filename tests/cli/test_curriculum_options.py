"""Curricula from the command line: all spellings are one configuration, and what is wrong is one line."""

import pytest
import yaml

from lightning_ntm.cli.parser import parsed, saved
from lightning_ntm.cli.parts import make_parts
from lightning_ntm.cli.words import UsageError
from lightning_ntm.tasks.curricula import RegularIncrease

REVERSE = ["--task", "ReverseString"]


def configuration(*words):
    parser, _, config = parsed([*REVERSE, *words])
    return yaml.safe_load(saved(parser, config))["data"]["curriculum"]


def made(*words):
    parser, said, config = parsed([*REVERSE, *words])
    return make_parts(parser, config, said)


def test_all_spellings_of_a_curriculum_are_one_configuration(tmp_path):
    spec = {"class_path": "regular-increase", "init_args": {"every": 50}}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump({"data": {"curriculum": spec}}))
    every = "--data.curriculum.every=50"
    said = [
        ["--data.curriculum", "RegularIncrease", every],
        ["--data.curriculum=regularincrease", "--data.curriculum.init_args.every=50"],
        ["--data.curriculum.class_path=lightning_ntm.tasks.curricula.RegularIncrease", every],
        ["--data.curriculum", str(spec)],
        ["--data", str({"curriculum": spec})],
        ["-c", str(tmp_path / "a.yaml")],
    ]
    expected = {"difficulty": None, "start": None, "every": 50, "by": 1, "all_below": True}
    for words in said:
        found = configuration(*words)
        assert found == {"class_path": "lightning_ntm.tasks.curricula.RegularIncrease", "init_args": expected}
    assert configuration() is None
    assert configuration("--data.curriculum", "null") is None


def test_the_data_have_the_curriculum():
    assert made("--data.curriculum", "RegularIncrease").data.curriculum == RegularIncrease()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("Increase", "unknown curriculum 'Increase'; did you mean 'RegularIncrease'?"),
        ("3", "unknown curriculum '3'; known: Fixed, RegularIncrease, ReverseExponential, Uniform"),
        ("lightning_ntm.Copy", "--data.curriculum: Import path lightning_ntm.Copy does not correspond to a subclass"),
        ("os.system", "--data.curriculum os.system: it is Python's own"),
        (
            "Fixed --data.curriculum.vlue 3",
            "unknown option --data.curriculum.vlue; did you mean '--data.curriculum.value'?",
        ),
        ("Fixed --data.curriculum.value 50", "--data.curriculum.value (=50) must be a difficulty of training, 1 to 40"),
        ("Fixed --data.curriculum.difficulty items", "--data.curriculum.difficulty (='items') must be one of those of"),
        ("RegularIncrease --data.curriculum.every 0", "--data.curriculum.every (=0) must be at least 1"),
        ("ReverseExponential --data.curriculum.tau -1", "--data.curriculum.tau (=-1.0) must be between 0.01 and 100"),
        ("{every: 3}", "--data.curriculum needs a class: Fixed, RegularIncrease"),
        ("null --data.curriculum.every 3", "--data.curriculum needs a class: Fixed, RegularIncrease"),
        ("Uniform --task PrioritySort", "--data.curriculum cannot be given: PrioritySort has one value of items"),
    ],
)
def test_what_is_wrong_with_a_curriculum_is_one_line(words, says):
    with pytest.raises(UsageError) as caught:
        made("--data.curriculum", *([words] if "{" in words else words.split()))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
