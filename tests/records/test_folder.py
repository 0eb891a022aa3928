"""What a run folder tells without its run."""

import multiprocessing
import shutil
import subprocess
import sys
import time

import pytest

from lightning_ntm.records import RunFolder, claim, read_json

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
