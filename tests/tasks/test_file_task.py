"""A user's own sequences: what files and arrays give, in which order, and what is refused."""

import inspect
import json
import warnings

import numpy as np
import pytest
import torch
from hypothesis import assume, given, strategies as st

from lightning_ntm import FileTask
from lightning_ntm.tasks import Bits, Numbers, Symbols

SIZES = st.lists(st.integers(1, 6), min_size=1, max_size=7)
KINDS = st.sampled_from(["bits", "symbols", "numbers"])


def drawn(lengths, shown, answer, seed, size=2):
    """Draw sequences: a list with an array for each, of inputs, targets and masks."""
    generator = np.random.default_rng(seed)
    steps = {
        "bits": lambda length: generator.integers(2, size=(length, size)).astype(np.float32),
        "symbols": lambda length: generator.integers(5, size=length),
        "numbers": lambda length: generator.normal(size=(length, size)).astype(np.float32),
    }
    masks = [generator.random(length) < 0.5 for length in lengths]
    for mask in masks:
        mask[generator.integers(len(mask))] = True
    return {
        "inputs": [steps[shown](length) for length in lengths],
        "targets": [steps[answer](length) for length in lengths],
        "mask": masks,
    }


def padded(sequences):
    lengths = np.array([len(one) for one in sequences["mask"]])
    arrays = {"lengths": lengths}
    for name, parts in sequences.items():
        array = np.full((len(parts), lengths.max() + 1, *parts[0].shape[1:]), -1, parts[0].dtype)
        for row, part in enumerate(parts):
            array[row, : len(part)] = part
        arrays[name] = array
    return arrays


def concatenated(sequences):
    lengths = [len(one) for one in sequences["mask"]]
    return {"lengths": lengths, **{name: np.concatenate(parts) for name, parts in sequences.items()}}


def write_jsonl(path, sequences):
    rows = zip(*([part.tolist() for part in parts] for parts in sequences.values()), strict=True)
    path.write_text("".join(json.dumps(dict(zip(sequences, row, strict=True))) + "\n" for row in rows))


def write_parquet(path, sequences):
    pytest.importorskip("pyarrow")
    import pandas as pd

    pd.DataFrame({name: [part.tolist() for part in parts] for name, parts in sequences.items()}).to_parquet(path)


WRITERS = {
    "padded.npz": lambda path, sequences: np.savez(path, **padded(sequences)),
    "concatenated.npz": lambda path, sequences: np.savez_compressed(path, **concatenated(sequences)),
    "lines.jsonl": write_jsonl,
    "table.parquet": write_parquet,
}


def check(batch, sequences, rows, symbols):
    """Check a batch against sequences, one by one."""
    longest = max(len(sequences["mask"][row]) for row in rows)
    assert batch.mask.shape == (len(rows), longest)
    for place, row in enumerate(rows):
        inputs, targets, mask = (torch.from_numpy(sequences[name][row]) for name in ("inputs", "targets", "mask"))
        if symbols:
            inputs = torch.nn.functional.one_hot(inputs, symbols).float()
        expected = torch.where(mask.reshape(-1, *[1] * (targets.ndim - 1)), targets, 0)
        for mine, theirs in zip(batch, (inputs, expected, mask), strict=True):
            assert mine.dtype == theirs.dtype
            assert torch.equal(mine[place, : len(mask)], theirs)
            assert not mine[place, len(mask) :].any()


@pytest.mark.parametrize("name", WRITERS)
@given(lengths=SIZES, shown=KINDS, answer=KINDS, seed=st.integers(0, 99))
def test_a_batch_has_the_sequences_of_the_file(name, lengths, shown, answer, seed, tmp_path_factory):
    assume(name != "padded.npz" or max(lengths) > 1)  # without such a length the array may be a concatenated one
    sequences, path = drawn(lengths, shown, answer, seed), tmp_path_factory.mktemp("data") / name
    WRITERS[name](path, sequences)
    symbols = 5 if shown == "symbols" else None
    sizes = {"answer": answer, "answer_size": 5 if answer == "symbols" else 2, "input_symbols": symbols}
    task = FileTask(str(path), str(path), **sizes)
    assert (task.input_size, task.answer.size) == (symbols or 2, sizes["answer_size"])
    check(task.batch(1, "validation", 0, 100, len(lengths)), sequences, range(len(lengths)), symbols)
    check(task.batch(1, "evaluation", 1, 2, 3), sequences, [2], symbols) if len(lengths) > 2 else None
    arrays = FileTask.from_arrays(sequences, sequences, **sizes)
    same = zip(arrays.batch(3, "train", 2, 4), task.batch(3, "train", 2, 4), strict=True)
    assert all(torch.equal(mine, theirs) for mine, theirs in same)


def numbered(count):
    """Sequences that say their number."""
    sequences = {"inputs": np.arange(count).reshape(-1, 1, 1) / 2, "targets": np.zeros((count, 1, 1))}
    return FileTask.from_arrays(sequences, sequences)


def numbers_of(batch):
    return (2 * batch.inputs.flatten()).int().tolist()


@given(st.integers(1, 20), st.integers(1, 25), st.integers(0, 9))
def test_training_sees_every_sequence_once_an_epoch_and_epochs_follow_without_a_gap(count, size, seed):
    task = numbered(count)
    seen = [number for k in range(count) for number in numbers_of(task.batch(seed, "train", k, size))]
    epochs = [seen[start : start + count] for start in range(0, len(seen), count)]
    assert len(epochs) == size
    assert all(sorted(epoch) == list(range(count)) for epoch in epochs)


def test_the_order_is_a_function_of_seed_and_epoch_alone():
    task = numbered(30)
    orders = [numbers_of(task.batch(seed, "train", epoch, 30)) for seed in (1, 2) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4
    assert numbers_of(numbered(30).batch(2, "train", 1, 30)) == orders[3]
    assert numbers_of(task.batch(2, "train", 9, 5)) == orders[3][15:20]


def test_validation_and_evaluation_go_through_the_file_once_in_its_order():
    task = numbered(7)
    for split in ("validation", "evaluation"):
        assert task.stored(split) == 7
        assert [numbers_of(task.batch(5, split, k, 3, 7)) for k in range(3)] == [[0, 1, 2], [3, 4, 5], [6]]
    with pytest.raises(ValueError, match=r"sequence \(=8\) must be at most 6, the last of the file"):
        task.batch(1, "evaluation", 8, 1)
    with pytest.raises(ValueError, match="FileTask has no difficulty 'length'; it has none"):
        task.batch(1, "validation", 0, 3, length=5)


@pytest.mark.parametrize(
    ("targets", "answer"),
    [
        ([[1, 0, 3], [0, 2]], Symbols(4)),
        ([[0, 1, 1], [0, 0]], Symbols(2)),
        ([[0.0, 1.0, 1.0], [0.0, 1.0]], Bits(1)),
        ([[True, False, True], [False, False]], Bits(1)),
        ([[[0, 1], [1, 1], [0, 0]], [[1, 1], [0, 1]]], Bits(2)),
        ([[0.0, 1.0, 0.5], [0.0, 1.0]], Numbers(1)),
        ([[[0, 2], [1, 1], [0, 0]], [[1, 1], [0, 1]]], Numbers(2)),
    ],
)
def test_the_answer_follows_from_the_targets(targets, answer):
    sequences = {"inputs": [[0.5, 1.0, 0.0], [1.0, 0.0]], "targets": targets}
    assert FileTask.from_arrays(sequences, sequences).answer == answer


def test_targets_where_the_mask_is_false_do_not_matter():
    sequences = {"inputs": [[0.5, 1.0]], "targets": [[np.nan, 1.0]], "mask": [[False, True]]}
    task = FileTask.from_arrays(sequences, sequences)
    assert task.answer == Bits(1)
    assert task.batch(1, "train", 0, 1).targets.flatten().tolist() == [0, 1]
    symbols = {"inputs": [[1, 0]], "targets": [[-100, 2]], "mask": [[0, 1]]}
    assert FileTask.from_arrays(symbols, symbols).answer == Symbols(3)


def test_numbers_that_are_held_or_are_no_integers_are_not_told():
    for targets in ([[2**24, -(2**24)]], [[2.0**24 + 1, 0.5]], [[1e20, 0.5]], [[2**25, 4]]):
        sequences = {"inputs": [[0.5, 1.5]], "targets": targets}
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            FileTask.from_arrays(sequences, sequences, answer="numbers")


def test_integers_are_numbers_where_the_user_says_so():
    sequences = {"inputs": [[3, 4], [5]], "targets": [[3, 4], [5]]}
    task = FileTask.from_arrays(sequences, sequences, answer="numbers")
    assert task.answer == Numbers(1)
    assert task.batch(1, "validation", 1, 1).targets.tolist() == [[[5.0]]]


GOOD = {"inputs": [[0.5, 1.5], [2.5]], "targets": [[0, 1], [2]]}
ROW = r"train, row 1 \(counted from 0\): "
ALLOWED = "must be a number for each step, or a list of as many numbers for each step"


@pytest.mark.parametrize(
    ("more", "options", "message"),
    [
        ({"targets": [[0, 1], [-1]]}, {}, ROW + r"targets \(=-1\) must be symbols from 0 to 1 \(answer_size=2\)"),
        ({"targets": [[0, 1], [5]]}, {"answer_size": 4}, ROW + r"targets \(=5\) must be symbols from 0 to 3"),
        ({"inputs": [[0, 1], [9]]}, {"input_symbols": 3}, ROW + r"inputs \(=9\) must be symbols from 0 to 2 \(input_"),
        ({"mask": [[1, 1], [0]]}, {}, ROW + "the mask selects no step; it must select at least one"),
        ({"mask": [[1, 1], [2]]}, {}, ROW + r"the mask must be true or false \(or 1 or 0\) for each step"),
        ({"mask": [[1, 1], [1, 1]]}, {}, ROW + "inputs have 1 steps and mask 2; they must have the same"),
        ({"mask": [[1, 1]]}, {}, "train: there are 2 sequences of inputs and 1 masks"),
        ({"inputs": [[[1.0, 2.0]] * 2, [[1.0, 2.0], [3.0]]], "targets": [[0, 1]] * 2}, {}, ROW + "inputs " + ALLOWED),
        ({"inputs": [[[1.0, 2.0]] * 2, [[1.0]]]}, {}, ROW + "inputs are a list of 1 numbers a step, but those of r"),
        ({"inputs": [[0.5, 1.5], ["a"]]}, {}, ROW + "inputs " + ALLOWED),
        ({"inputs": [[0.5, 1.5], None]}, {}, ROW + "inputs is missing"),
        ({"inputs": [[0.5, 1.5], []]}, {}, ROW + "inputs has no steps; there must be at least one"),
        ({"inputs": [[0.5, 1.5], [np.nan]]}, {}, ROW + r"inputs \(=\[nan\]\) must be finite numbers"),
        ({"targets": [[0.5, 1], [np.inf]]}, {}, ROW + r"targets \(=\[inf\]\) must be finite numbers where the mask is"),
        ({"inputs": [[0.5, 1.5], [1e300]]}, {}, ROW + r"inputs \(=\[inf\]\) must be finite numbers"),
        ({"targets": [[0, 1], [2, 0]]}, {}, ROW + "inputs have 1 steps and targets 2; they must have the same"),
        ({"targets": [[0, 1]]}, {}, "train: there are 2 sequences of inputs and 1 of targets"),
        ({"inputs": [], "targets": []}, {}, "train: has no sequences"),
        ({"inputs": np.zeros((2, 3))}, {}, r"inputs has shape \(2, 3\); without lengths it must"),
        ({"inputs": np.zeros((2, 3, 1)), "targets": np.zeros((2, 3, 1)), "lengths": [1, 4]}, {}, "fit its 2 l"),
        ({"inputs": np.zeros(3), "targets": np.zeros(3), "lengths": [3, 0]}, {}, ROW + r"lengths \(=0\) must be at le"),
        ({"inputs": np.zeros(3), "targets": np.zeros(3), "lengths": [1.5, 1.5]}, {}, "lengths must be whole numbers"),
        ({"inputs": np.array([[0, 1, 2], [3, 1, 0]]), "targets": np.zeros(2, int), "lengths": [1, 1]}, {},
         r"inputs has shape \(2, 3\) and all lengths are 1: .* Numbers must have shape \(2, 1, 3\), symbols \(2,\)"),
        ({"lengths": [2, 1]}, {}, "lengths are for arrays, but inputs is a list of sequences"),
        ({"masks": [[1, 1], [1]]}, {}, "train: unknown array 'masks'; known: inputs, targets, mask, lengths"),
        ({"targets": [[0, 1], [2]]}, {"answer": "bits"}, ROW + r"targets \(=2\) must be bits, 0 or 1, where the mask"),
        ({"targets": [[0.5, 1], [2]]}, {"answer": "symbols"}, "train: targets must be symbols, one integer"),
        ({}, {"input_symbols": 5}, "train: inputs must be symbols, one integer for each step"),
        ({}, {"answer": "numbers", "answer_size": 3}, r"train: targets have 1 numbers for each step; they must have 3"),
        ({}, {"answer": "symbols", "answer_size": 1}, r"answer_size \(=1\) must be at least 2"),
        ({"targets": [[0, 1], [10**9]]}, {}, r"answer_size \(=1000000001\) must be at most 1000000"),
        ({}, {"tolerance": 0.0}, r"tolerance \(=0.0\) must be above 0 and finite"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_row(more, options, message):
    with pytest.raises(ValueError, match=message) as error:
        FileTask.from_arrays({**GOOD, **more}, GOOD, **options)
    assert "\n" not in str(error.value)


def test_the_validation_file_must_be_as_the_training_file():
    wide = {"inputs": [[[0.5, 1.5]]], "targets": [[0]]}
    with pytest.raises(
        ValueError, match=r"validation: inputs have 2 numbers for each step; they must have 1 \(input_s"
    ):
        FileTask.from_arrays(GOOD, wide)
    with pytest.raises(
        ValueError, match=r"validation, row 0 .*targets \(=7\) must be symbols from 0 to 2 \(answer_size"
    ):
        FileTask.from_arrays(GOOD, {"inputs": [[0.5]], "targets": [[7]]})


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good.jsonl"
    path.write_text('{"inputs": [0.5, 1.5], "targets": [0, 1]}\n{"inputs": [2.5], "targets": [2]}\n')
    return path


DAMAGED = "not an .npz file of plain arrays: it is damaged"


class Touching:
    def __reduce__(self):
        return open, ("touched", "w")


def pickled(path):
    np.savez(path, inputs=np.array([Touching()], object), targets=np.zeros((1, 1, 1)))


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("a.npz", pickled, "not an .npz file of plain arrays: it holds Python objects, which may run programs"),
        ("a.npz", lambda p: p.write_bytes(b""), DAMAGED),
        ("a.npz", lambda p: p.write_bytes(b"PK\3\4 and no more"), DAMAGED),
        ("a.npz", lambda p: np.savez(p, inputs=np.zeros((1, 1, 1))), "the array 'targets' is missing; there"),
        ("a.npz", lambda p: np.savez(p, inputs=np.zeros((0, 1, 1)), targets=np.zeros((0, 1, 1))), "has no seq"),
        ("a.jsonl", lambda p: p.write_text(""), "has no sequences"),
        ("a.jsonl", lambda p: p.write_text('{"inputs": [1], "targets": [1]}\n[]\n'), r"row 1 \(counted from 0\): ea"),
        ("a.jsonl", lambda p: p.write_text("[" * 10**5), r"row 0 \(counted from 0\): each line must be"),
        ("a.jsonl", lambda p: p.write_bytes(b"\xff\n"), r"row 0 \(counted from 0\): each line must be"),
        ("a.jsonl", lambda p: p.write_text('{"inputs": [1]}\n'), "the name 'targets' is missing; there is"),
        ("a.jsonl", lambda p: p.write_text('{"inputs": [NaN], "targets": [1]}'), r"inputs \(=\[nan\]\) must"),
        ("a.csv", lambda p: p.write_text(""), "must be a file that ends in .npz, .jsonl, .parquet"),
        ("a.jsonl", lambda p: p.mkdir(), "there is no such file"),
        ("a.parquet", lambda p: p.write_text("no"), "a.parquet"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_named(name, write, message, good, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / name)
    with pytest.raises(ValueError, match=message) as error:
        FileTask(str(good), name)
    assert str(error.value).startswith(f"validation (={tmp_path / name})")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("name", ["inputs", "targets"])
def test_a_row_that_has_a_name_twice_is_refused(name, tmp_path):
    row = '{"inputs": [0, 1], "targets": [1, 0], "%s": [1, 1]}'
    (tmp_path / "a.jsonl").write_text('{"inputs": [0, 1], "targets": [1, 0]}\n' + row % name)
    with pytest.raises(ValueError, match=rf"row 1 \(counted from 0\): the name '{name}' occurs twice"):
        FileTask(*[str(tmp_path / "a.jsonl")] * 2)


@pytest.mark.parametrize(
    ("targets", "answer"), [([[2**24, 2**24 + 1]], "numbers"), (np.array([[[1, 2], [2**24 + 1, 0]]]), None)]
)
def test_integers_that_single_precision_cannot_hold_are_told(targets, answer):
    sequences = {"inputs": [[0.5, 1.5]], "targets": targets}
    said = r"train: targets has integers that single precision \(float32\) cannot hold: 16777217 becomes 16777216\.$"
    with pytest.warns(UserWarning, match=said):
        FileTask.from_arrays(sequences, {**sequences, "targets": np.zeros(np.shape(targets)).tolist()}, answer=answer)


def test_a_table_without_a_column_is_refused(good, tmp_path):
    pytest.importorskip("pyarrow")
    import pandas as pd

    pd.DataFrame({"inputs": [[1.0]], "target": [[1]]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="the column 'targets' is missing; there is inputs, target"):
        FileTask(str(good), str(tmp_path / "a.parquet"))


def test_files_are_read_when_they_are_needed_once_all_sizes_are_known(good, tmp_path):
    resolved = FileTask(str(good), str(good)).resolved()
    assert resolved == {
        "train": str(good), "validation": str(good), "input_size": 1, "input_symbols": None, "answer": "symbols",
        "answer_size": 3, "names": None,
    }  # fmt: skip
    later = FileTask(**{**resolved, "train": str(tmp_path / "gone.npz")})
    assert later.stored("evaluation") == 2
    with pytest.raises(ValueError, match=r"train \(=.*gone.npz\): there is no such file"):
        later.stored("train")


def test_another_file_is_evaluated_in_the_layout_of_training(good, tmp_path):
    task, other = FileTask(str(good), str(good)), tmp_path / "other.jsonl"
    other.write_text('{"inputs": [0, 1, 2], "targets": [0, 0, 1]}\n')
    evaluated = task.on(str(other)).batch(1, "evaluation", 0, 5, 1)
    assert evaluated.inputs.tolist() == [[[0.0], [1.0], [2.0]]]
    assert task.stored("evaluation") == 2
    other.write_text('{"inputs": [0, 1, 2], "targets": [0, 0, 3]}\n')
    with pytest.raises(ValueError, match=r"on \(=.*other.jsonl\), row 0 .*targets \(=3\) must be symbols from 0 to 2"):
        task.on(str(other))


def test_other_content_of_the_same_files_is_another_version(good):
    versions = [FileTask(str(good), str(good)).version for _ in range(2)]
    good.write_text('{"inputs": [0.5], "targets": [1]}\n')
    assert versions[0] == versions[1] != FileTask(str(good), str(good)).version


def words(path, *names):
    path.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    return str(path)


def test_symbols_have_the_names_of_a_file_while_it_is_there(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"inputs": [0, 2, 1], "targets": [0, 0, 1]}\n')
    path, file = str(tmp_path / "a.jsonl"), tmp_path / "words.txt"
    task = FileTask(path, path, names=words(file, "-", "mary", "b\u00fcro", "never"))
    assert (task.input_names, task.answer_names) == (("-", "mary", "b\u00fcro"), ("-", "mary"))
    assert FileTask(**task.resolved()).input_names == task.input_names
    file.unlink()
    assert (task.input_names, task.answer_names) == ((), ())
    assert FileTask(path, path).input_names == ()


def test_files_of_names_that_do_not_fit_are_refused_before_the_training(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"inputs": [0, 2, 1], "targets": [0, 0, 1]}\n')
    path, file = str(tmp_path / "a.jsonl"), tmp_path / "words.txt"
    for names, says in (
        (str(tmp_path), "must be a text file"),
        (str(tmp_path / "nothing.txt"), "must be a text file"),
        (words(file, "a", "b"), "has 2 names for 3 symbols"),
        (words(tmp_path / "gap.txt", "a", "", "b"), "line 2: expected the name of a symbol, got ''"),
    ):
        with pytest.raises(ValueError, match=says):
            FileTask(path, path, names=names)


@pytest.mark.parametrize("given", [None, [1, 2], "train.npz"])
def test_arrays_come_in_a_mapping(given):
    with pytest.raises(TypeError, match=r"^train must be a mapping with inputs and targets, not"):
        inspect.unwrap(FileTask.from_arrays.__func__)(FileTask, given, GOOD)
    with pytest.raises(TypeError, match=r"^validation must be a mapping with inputs and targets, not"):
        inspect.unwrap(FileTask.from_arrays.__func__)(FileTask, GOOD, given)


def test_an_array_that_is_none_is_missing():
    with pytest.raises(ValueError, match="train: the array 'inputs' is missing; there is targets"):
        FileTask.from_arrays({**GOOD, "inputs": None}, GOOD)


@pytest.mark.parametrize(
    "change",
    [
        lambda tensor: tensor.bfloat16(),
        lambda tensor: tensor.half(),
        lambda tensor: tensor.requires_grad_(),
        lambda tensor: tensor.to_sparse(),
        lambda tensor: tensor.neg().to(torch.complex64).conj().real.neg(),
    ],
    ids=["bfloat16", "float16", "with a gradient", "sparse", "conjugated"],
)
def test_tensors_of_any_kind_are_arrays(change):
    arrays = {"inputs": torch.rand(3, 4, 2).bfloat16().float(), "targets": torch.ones(3, 4, 1)}
    expected = FileTask.from_arrays(arrays, arrays).batch(1, "evaluation", 0, 3)
    tensors = {name: change(tensor) for name, tensor in arrays.items()}
    if not tensors["inputs"].is_sparse:
        lists = {name: list(tensor) for name, tensor in tensors.items()}
        for mine, other in zip(FileTask.from_arrays(lists, lists).batch(1, "evaluation", 0, 3), expected, strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-3, atol=0)
    for mine, other in zip(FileTask.from_arrays(tensors, tensors).batch(1, "evaluation", 0, 3), expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=0)
