"""What a run folder tells without its run."""

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from threading import Thread

import pytest

from lightning_ntm.records import RunFolder, claim, locks, read_json

HOLDS = "import sys; from pathlib import Path; from lightning_ntm.records import RunFolder; " + (
    "RunFolder(Path(sys.argv[1])).lock(); print('held', flush=True); sys.stdin.read()"
)


def test_a_folder_is_in_use_while_another_process_holds_it(tmp_path):
    folder = RunFolder(tmp_path)
    assert not folder.in_use()
    holder = subprocess.Popen([sys.executable, "-c", HOLDS, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    assert folder.in_use()
    with pytest.raises(ValueError, match=f"what I want is in use by process {holder.pid} on "):
        claim(tmp_path / ".lock", "what I want")
    holder.kill()
    holder.communicate()
    assert not folder.in_use()


def locked_by_another(path):
    other = subprocess.run([sys.executable, "-c", HOLDS, path], input=b"", capture_output=True)
    return other.returncode == 0


def test_a_process_keeps_its_lock_when_it_reads_or_copies_the_folder(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.create()
    held = folder.lock()
    assert not folder.in_use(), "it is this process that holds it"
    shutil.copytree(folder.path, tmp_path / "backup")
    assert not locked_by_another(folder.path)
    with pytest.raises(ValueError, match="is in use by this process"):
        folder.lock()
    assert not locked_by_another(folder.path)
    held()
    held()
    folder.lock()()
    assert locked_by_another(folder.path)


def test_a_forked_worker_does_not_keep_the_lock(tmp_path):
    folder = RunFolder(tmp_path)
    held, worker = folder.lock(), multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    worker.start()
    try:
        assert not locked_by_another(tmp_path)
        held()
        assert locked_by_another(tmp_path)
    finally:
        worker.kill()
        worker.join()


def test_a_forked_child_can_check_and_release_a_lock_that_is_its_parent_s(tmp_path):
    held = RunFolder(tmp_path).lock()
    child = multiprocessing.get_context("fork").Process(target=lambda: (held.check(), held()))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert not locked_by_another(tmp_path)
    held()


def test_the_latest_rows_are_whole_ones(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder.latest() == []
    for step in range(200):
        folder.append({"step": step})
    with folder.metrics.open("a") as file:
        file.write('not JSON\n{"no": "step"}\n{"step": 20')
    rows = folder.latest(100)
    assert [row["step"] for row in rows] == list(range(200 - len(rows), 200))
    assert 2 <= len(rows) <= 6
    assert len(folder.latest(10**6)) == 200


@pytest.mark.parametrize(
    ("names", "began"),
    [
        ([], False),
        (["config.yaml", ".lock", "about.jsonl", "metrics.jsonl", "best.safetensors", ".last.ckpt.7.tmp"], False),
        (["config.yaml", "measures.json", "about.jsonl"], False),
        (["failed.json", "nonfinite.json", "nonfinite.safetensors"], False),
        (["config.yaml", "last.ckpt"], True),
        (["config.yaml", "notes.txt"], True),
        (["figures"], True),
    ],
)
def test_what_training_anew_would_make_again_may_go(tmp_path, names, began):
    for name in names:
        (tmp_path / name).touch()
    assert RunFolder(tmp_path).began() == began


def test_an_evaluation_replaces_the_one_before_at_the_same_difficulty(tmp_path):
    folder, measured = RunFolder(tmp_path), {"wrong_bits": 1.0, "sequences": 9}
    folder.keep_evaluation(5, [{"length": 3, **measured}, {"length": 4, **measured}], 2)
    folder.keep_evaluation(5, [{"length": 3, "answer": "whole", "wrong_bits": 2.0}, {"length": 3, "answer": "1-2"}], 2)
    told = read_json(folder.evaluation)["results"]
    assert [(row["length"], row.get("answer"), row.get("wrong_bits")) for row in told] == [
        (4, None, 1.0), (3, "whole", 2.0), (3, "1-2", None)
    ]  # fmt: skip
    folder.keep_evaluation(6, [{"length": 9, **measured}], 2)
    assert [row["length"] for row in read_json(folder.evaluation)["results"]] == [9], "of other weights"


def a_range(lengths, name="41-500", **more):
    rows = [{"length": length, "wrong_bits": 1.0, "sequences": 9} for length in lengths]
    return {"range": name, "training_length": 40, "skipped": 0, "sequences": 9, **more, "results": rows}


def keep_evaluations(path, first):
    for length in range(first, first + 20):
        RunFolder(path).keep_evaluation(5, [{"length": length, "wrong_bits": 1.0}], 2)


@pytest.mark.parametrize("made", [Thread, multiprocessing.get_context("spawn").Process], ids=["threads", "processes"])
def test_evaluations_at_the_same_time_are_all_kept(tmp_path, made):
    (tmp_path / ".lock").touch()
    training = RunFolder(tmp_path).lock()  # does not hinder them
    writers = [made(target=keep_evaluations, args=(tmp_path, first)) for first in (100, 200, 300)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    kept = [row["length"] for row in read_json(tmp_path / "evaluation.json")["results"]]
    assert sorted(kept) == [*range(100, 120), *range(200, 220), *range(300, 320)]
    assert os.name == "nt" or sorted(os.listdir(tmp_path)) == [".lock", "evaluation.json"]
    training()


def test_an_evaluation_that_waits_too_long_names_who_holds_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "_PATIENCE", 0.0)
    held = claim(tmp_path / ".evaluation.json.lock", "it")
    with pytest.raises(OSError, match=r"evaluation\.json is in use by this process"):
        keep_evaluations(tmp_path, 100)
    held()
    keep_evaluations(tmp_path, 100)


def test_ranges_are_kept_beside_other_evaluations_of_the_same_weights(tmp_path):
    folder, row = RunFolder(tmp_path), {"length": 3, "wrong_bits": 1.0, "sequences": 9}
    folder.keep_evaluation(5, [row], 2)
    folder.keep_evaluation(5, [], 2, [a_range([41, 42])])
    folder.keep_evaluation(5, [], 2, [a_range([41, 43], memory_slots=99)])
    folder.keep_evaluation(5, [], 2, [a_range([44])])
    kept = folder.results()
    assert kept.rows == [row]
    assert [[one["length"] for one in each["results"]] for each in kept.ranges] == [[41, 43], [44]]
    folder.keep_evaluation(5, [], 3, [a_range([45])])
    assert folder.results() == (5, [], 3, [a_range([45])]), "of other episodes"
    folder.keep_evaluation(6, [row], 3)
    assert folder.results() == (6, [row], 3, []), "of other weights"
    assert "ranges" not in read_json(folder.evaluation), "the file is that of a run without any"


def test_the_oldest_ranges_are_dropped_so_that_the_file_can_be_read(tmp_path):
    folder = RunFolder(tmp_path)
    numbers = {f"measure_{n}": 0.123456789012345678 for n in range(3)}
    for name in "abc":
        one = a_range(range(1, 901), name)
        one["results"] = [{**row, **numbers} for row in one["results"]]
        folder.keep_evaluation(5, [], 2, [one])
    assert [one["range"] for one in folder.results().ranges] == ["b", "c"]


@pytest.mark.parametrize(
    "wrong",
    [
        5, [5], [{}], [a_range([])], [a_range([42, 41])], [a_range([41, 41])], [a_range([1.5])], [a_range([None])],
        [a_range([1], name="a" * 51)], [a_range([1], name=5)], [a_range([1], mean="x")],
        [a_range([1], sequences=None)], [a_range([1], training_length=-1)], [a_range([1], memory_slots="many")],
        [a_range(range(1500)), a_range(range(1500))],
    ],
)  # fmt: skip
def test_damaged_ranges_are_refused(tmp_path, wrong):
    folder = RunFolder(tmp_path)
    folder.evaluation.write_text(json.dumps({"step": 5, "version": 2, "results": [], "ranges": wrong}))
    with pytest.raises(ValueError, match=r"evaluation\.json is damaged: it(s ranges are no list| has more than 2,000)"):
        folder.results()


def test_rows_of_steps_and_sequences_that_are_trained_again_are_dropped(tmp_path):
    folder = RunFolder(tmp_path)
    for row in ({"step": 1}, {"step": 1, "sequences": 8}, {"step": 1, "sequences": 12}, {"step": 2, "sequences": 8}):
        folder.append(row)
    folder.forget_after(1, 8)
    assert [row.get("sequences") for row in folder.rows()] == [None, 8]
