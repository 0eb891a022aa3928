"""The tasks of Delétang et al. 2023 against plain transcriptions of their definitions, string by string."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from lightning_ntm.tasks import formal


def even_pairs(string):
    pairs = [string[i : i + 2] for i in range(len(string) - 1)]
    return str((pairs.count("01") + pairs.count("10")) % 2)


def parity_check(string):
    odd = False
    for symbol in string:
        odd = not odd if symbol == "1" else odd
    return "01"[odd]


def cycle_navigation(string):
    place = 0
    for move in string:
        place += {"0": -1, "1": 0, "2": 1}[move]
        place = {-1: 4, 5: 0}.get(place, place)
    return str(place)


def modular_arithmetic(string):
    return str(eval(string) % 5)  # Python's own precedence


def stack_manipulation(string):
    stack = []
    for symbol in string:
        if symbol in "01":
            stack.append(symbol)
        elif symbol == "v":
            stack = stack[:-1]
        else:
            stack.append({"a": "0", "b": "1"}[symbol])
    answer = "".join(reversed(stack)) + "2"
    return answer + "0" * (len(string) + 1 - len(answer))


def solve_equation(string):
    left, right = string.split("=")
    solutions = [x for x in range(5) if eval(left.replace("x", str(x))) % 5 == int(right)]
    assert len(solutions) == 1
    return str(solutions[0])


def missing_duplicate(string):
    both = string.rstrip("3") if len(string) % 2 else string
    half = len(both) // 2
    for first, second in zip(both[:half], both[half:], strict=True):
        if "2" in (first, second):
            return first if second == "2" else second
        assert first == second
    raise AssertionError("there is no hole")


def little_endian(digits):
    return sum(2**place for place, digit in enumerate(digits) if digit == "1")


def written(number):
    """Little-endian, without leading zeros."""
    return "" if number == 0 else str(number % 2) + written(number // 2)


def arithmetic(string, combine, longer):
    first, second = (little_endian(digits) for digits in string.split("2"))
    answer = written(combine(first, second)) + "2"
    return answer + "0" * (len(string) + longer - len(answer))


def compute_sqrt(string):
    number, root = int(string, 2), 0
    while (root + 1) ** 2 <= number:
        root += 1
    return format(root, f"0{math.ceil(len(string) / 2)}b")


def bucket_sort(string):
    return "".join(symbol * string.count(symbol) for symbol in "01234")


#: For each task the symbols of its strings, in order, and the answer to a string.
DEFINITIONS = {
    "EvenPairs": ("01", even_pairs),
    "ParityCheck": ("01", parity_check),
    "ModularArithmetic": ("01234+-*_", modular_arithmetic),
    "CycleNavigation": ("012", cycle_navigation),
    "StackManipulation": ("01vab", stack_manipulation),
    "ModularArithmeticBrackets": ("01234+-*()?", modular_arithmetic),
    "SolveEquation": ("01234+-()x=", solve_equation),
    "DuplicateString": ("01", lambda string: string + string),
    "MissingDuplicate": ("0123", missing_duplicate),
    "OddsFirst": ("01", lambda string: string[1::2] + string[0::2]),
    "BinaryAddition": ("012", lambda string: arithmetic(string, lambda a, b: a + b, 1)),
    "BinaryMultiplication": ("012", lambda string: arithmetic(string, lambda a, b: a * b, 0)),
    "ComputeSqrt": ("01", compute_sqrt),
    "BucketSort": ("01234", bucket_sort),
    "ReverseString": ("01", lambda string: string[::-1]),
}
each = pytest.mark.parametrize("name", DEFINITIONS)


def read(task, batch, symbols):
    """Strings and answers of a batch, after a check of the encoding of every step."""
    assert task.input_size == batch.inputs.shape[2] == len(symbols) + 1
    for inputs, targets, mask in zip(*batch, strict=True):
        rows = inputs.tolist()
        assert all(sorted(row) == [0] * len(symbols) + [1] for row in rows)
        shown = [row.index(1) for row in rows]
        length = shown.index(len(symbols))
        assert set(shown[length:]) == {len(symbols)}, "only empty steps after the string"
        assert mask.tolist() == [False] * length + [True] * (len(rows) - length)
        assert targets[:length].tolist() == [0] * length
        yield "".join(symbols[i] for i in shown[:length]), "".join(map(str, targets[length:].tolist()))


@each
@given(length=st.integers(1, 40), seed=st.integers(0, 2**32))
def test_a_task_is_its_definition(name, length, seed):
    task, (symbols, answer_to) = getattr(formal, name)(), DEFINITIONS[name]
    length = max(length, task.shortest)
    length -= task.odd and length % 2 == 0
    # A root is searched one by one here: 2 ** 14 at most.
    length = min(length, 28) if name == "ComputeSqrt" else length
    batch = task.sample(np.random.default_rng(seed), 4, length=length)
    for string, answer in read(task, batch, symbols):
        assert len(string) == length
        assert answer == answer_to(string)


@each
def test_all_that_short_strings_may_hold_is_its_definition(name):
    task, (symbols, answer_to) = getattr(formal, name)(), DEFINITIONS[name]
    for length in range(task.shortest, 8, 2 if task.odd else 1):
        batch = task.sample(np.random.default_rng(3), 300, length=length)
        for string, answer in read(task, batch, symbols):
            assert answer == answer_to(string)


@pytest.mark.parametrize("name", [name for name in DEFINITIONS if name != "ComputeSqrt"])
def test_long_strings_are_their_definition_too(name):
    task, (symbols, answer_to) = getattr(formal, name)(), DEFINITIONS[name]
    batch = task.sample(np.random.default_rng(7), 3, length=499)
    for string, answer in read(task, batch, symbols):
        assert answer == answer_to(string)


def test_roots_of_long_numbers_are_rounded_down():
    batch = formal.ComputeSqrt().sample(np.random.default_rng(7), 20, length=499)
    for string, answer in read(formal.ComputeSqrt(), batch, "01"):
        root = int(answer, 2)
        assert root**2 <= int(string, 2) < (root + 1) ** 2
        assert len(answer) == 250


#: Examples of appendix A.3 in our symbols (a is 0, b is 1), those of the paper's code, and a few more.
EXAMPLES = [
    ("EvenPairs", "01101", "1"),
    ("EvenPairs", "00110", "0"),  # A.3: aabba, an even number
    ("EvenPairs", "001110", "0"),
    ("EvenPairs", "0101001", "1"),
    ("ParityCheck", "000110", "0"),  # A.3: aaabba, an even number
    ("ParityCheck", "1010100", "1"),
    ("ParityCheck", "01111", "0"),
    ("ModularArithmetic", "1+2-4", "4"),  # A.3
    ("ModularArithmetic", "1+2*3", "2"),
    ("ModularArithmetic", "1-1-1", "4"),
    ("ModularArithmetic", "0*1+4*3-2", "0"),
    ("CycleNavigation", "20100", "3"),  # 1 -1 0 -1 -1
    ("CycleNavigation", "2220", "2"),  # 1 1 1 -1
    ("CycleNavigation", "122021", "2"),  # 011210, where 0 is to stay, 1 is forward and 2 is back
    ("CycleNavigation", "121022", "2"),  # A.3: 010211, where 0 is to stay, 1 is forward and 2 is back
    ("StackManipulation", "01100vav", "011020000"),  # A.3: abbaa POP PUSH a POP
    ("StackManipulation", "0110bvv", "11020000"),
    ("StackManipulation", "110vvvv", "20000000"),
    ("ModularArithmeticBrackets", "((1-2)*((4-3)*(-2)))", "2"),
    ("ModularArithmeticBrackets", "(-4)", "1"),
    ("SolveEquation", "(x-2)=4", "1"),
    ("SolveEquation", "((-x)-(-3))=0", "3"),
    ("DuplicateString", "01001", "0100101001"),  # A.3: abaab
    ("DuplicateString", "101", "101101"),
    ("MissingDuplicate", "012010", "0"),  # A.3: ab_aba
    ("MissingDuplicate", "01100210", "1"),
    ("MissingDuplicate", "1011213", "0"),
    ("OddsFirst", "00110101", "01110100"),
    ("OddsFirst", "000100", "010000"),  # A.3: aaabaa, there with the symbols 1, 3 and 5 first
    ("BinaryAddition", "001201101", "0101120000"),
    ("BinaryAddition", "10012000001", "100101200000"),
    ("BinaryAddition", "010012101", "1110120000"),  # A.3: 10010 + 101 = 10111, here little-endian
    ("BinaryMultiplication", "10012000001", "00000100120"),
    ("BinaryMultiplication", "010012101", "010110120"),  # 18 * 5 = 90
    ("BinaryMultiplication", "001201101", "000110120"),  # A.3: 100 * 10110 = 1011000, here little-endian
    ("ComputeSqrt", "101001", "110"),  # A.3 has 101, which is wrong in either order of the bits
    ("ComputeSqrt", "100101", "110"),
    ("ComputeSqrt", "111", "10"),
    ("ComputeSqrt", "100010", "101"),  # 34
    ("BucketSort", "421302214", "011222344"),  # A.3
    ("BucketSort", "10204112", "00111224"),
    ("ReverseString", "00110", "01100"),  # A.3: aabba
    ("ReverseString", "011010", "010110"),
]


@pytest.mark.parametrize(("name", "string", "answer"), EXAMPLES)
def test_the_definitions_give_the_examples_of_the_paper(name, string, answer):
    symbols, answer_to = DEFINITIONS[name]
    assert set(string) <= set(symbols)
    assert answer_to(string) == answer


#: Tasks with so few strings of a length that a large batch has them all, and the examples among those.
SMALL = [(name, string, answer) for name, string, answer in EXAMPLES if len(DEFINITIONS[name][0]) ** len(string) < 3000]


@pytest.mark.parametrize(("name", "string", "answer"), SMALL)
def test_the_tasks_give_the_examples_of_the_paper(name, string, answer):
    task = getattr(formal, name)()
    # The rarest string is one of 2,000: without it with a probability below e-14.
    batch = task.sample(np.random.default_rng(1), 30_000, length=len(string))
    shown = torch.tensor([DEFINITIONS[name][0].index(symbol) for symbol in string])
    same = (batch.inputs.argmax(2)[:, : len(string)] == shown).all(1)
    assert same.any()
    answers = {"".join(map(str, row)) for row in batch.targets[same][:, len(string) :].tolist()}
    assert answers == {answer}


PAGE = (Path(__file__).parents[2] / "docs" / "formal-languages.md").read_text(encoding="utf-8")
ROW = r"^\| `(\w+)` \| (?:regular|deterministic context-free|context-sensitive) \| .* \| `(.*)` → `(.*)` \|$"


def test_the_examples_of_the_page_and_of_the_docstrings_are_right():
    rows = re.findall(ROW, PAGE, re.MULTILINE)
    assert sorted(name for name, _, _ in rows) == sorted(DEFINITIONS)
    for name, string, answer in rows:
        assert answered(name, string) == answer
        inputs, targets = re.findall(r"(?:inputs|targets) +(.*)", getattr(formal, name).__doc__)
        shown, asked = inputs.replace(" ", "").rstrip("_"), targets.replace(" ", "").lstrip("-")
        assert answered(name, shown) == asked
        assert len(inputs) == len(targets)


def answered(name, string):
    """The answer to a string in which actions on a stack are written as the symbols that they are."""
    symbols, answer_to = DEFINITIONS[name]
    return answer_to("".join(symbols[int(s)] for s in string) if name == "StackManipulation" else string)
