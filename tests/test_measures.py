"""Declarations of measures: what a run writes is what is read, and nothing else is."""

import json
import math

import pytest

from lightning_ntm.measures import BITS, UNCERTAIN_BITS, Measure, Measures
from lightning_ntm.tasks.answers import Bits, Numbers, Symbols

ANSWERS = [Bits(3), Bits(3, uncertain=True), Symbols(5), Symbols(5, uncertain=True), Numbers(2), Numbers(1, 0.1)]


@pytest.mark.parametrize("answer", ANSWERS, ids=str)
def test_declarations_survive_a_file(answer):
    assert Measures.from_object(json.loads(json.dumps(answer.measures.as_object()))) == answer.measures


def test_a_field_of_a_later_version_is_ignored():
    told = BITS.as_object()
    told["measures"][0]["colour"] = "red"
    assert Measures.from_object({**told, "more": 1}) == BITS


def changed(**fields):
    told = UNCERTAIN_BITS.as_object()
    told["measures"][2] |= fields
    return told


@pytest.mark.parametrize(
    ("told", "says"),
    {
        "no object": ([], "does not declare measures"),
        "no list": ({"measures": 3, "without_error": ""}, "does not declare measures"),
        "of numbers": ({"measures": [1], "without_error": ""}, "does not declare measures"),
        "none": ({"measures": [], "without_error": ""}, "must declare 1 to 16 measures"),
        "too many": (
            {"measures": [{**BITS.as_object()["measures"][0], "name": f"m{n}"} for n in range(17)],
             "without_error": ""}, "must declare 1 to 16 measures"
        ),
        "twice": (changed(name="wrong_bits"), "each once"),
        "no name": ({"measures": [{"label": "a"}], "without_error": ""}, "does not declare measures"),
        "a number for a name": (changed(name=3), "has the name '3'"),
        "a path for a name": (changed(name="../a"), "has the name"),
        "the name of something else": (changed(name="step"), "has the name 'step'"),
        "control characters": (changed(label="\x1b[31m"), "not printable"),
        "a long text": (changed(description="a" * 501), "too long"),
        "a number for a text": (changed(unit=3), "not printable"),
        "an infinite threshold": (changed(solved=math.inf), "threshold"),
        "a threshold that is no number": (changed(near=math.nan), "threshold"),
        "a huge threshold": (changed(near=10**400), "threshold"),
        "true for a threshold": (changed(near=True), "threshold"),
        "neither way": (changed(better="sideways"), "neither lower nor higher"),
        "many digits": (changed(digits=10**30), "digits"),
        "two goals": (
            {**UNCERTAIN_BITS.as_object(), "measures": [*UNCERTAIN_BITS.as_object()["measures"][::2],
             BITS.as_object()["measures"][0]]}, "more than one of its measures is the goal"
        ),
        "two optima": (changed(optimum="a", above=""), "at most one optimum"),
        "above nothing": (changed(above="nothing"), "above the optimum of one that has none"),
        "above itself": (changed(above="regret_bits"), "above the optimum of one that has none"),
        "no text": ({**BITS.as_object(), "without_error": None}, "not printable"),
    }.values(),
)  # fmt: skip
def test_what_declares_no_measures_is_refused(told, says):
    with pytest.raises(ValueError, match=says):
        Measures.from_object(told)


def test_the_goal_comes_first_and_what_has_an_optimum_last():
    assert [measure.name for measure in BITS.ordered] == ["wrong_bits", "bits_per_sequence"]
    assert [measure.name for measure in UNCERTAIN_BITS.ordered] == ["regret_bits", "wrong_bits", "bits_per_sequence"]


@pytest.mark.parametrize(
    ("measure", "close", "means"),
    [
        (BITS.goal, 0.1, "under 0.1 wrong bits"),
        (UNCERTAIN_BITS.goal, 1.0, "under 1 bit of regret"),
        (Measure("a", "accuracy", "", "", better="higher", solved=0.99), 0.99, "over 0.99 accuracy"),
        (Numbers(1, 0.1).measures.goal, 0.04, "under 0.04 squared error"),
    ],
)
def test_what_a_run_near_the_goal_has_reached(measure, close, means):
    assert measure.close == pytest.approx(close)
    assert measure.close_means == means
