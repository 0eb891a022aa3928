"""Text as it comes: names, locales, terminals and words of any kind."""

import io
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from rich.console import Console
from runs import write_run
from tests import verbs
from tests.forked import Forked
from tests.torture.folders import train_two

from lightning_ntm.checks import counted
from lightning_ntm.cli import bench, main, results
from lightning_ntm.cli.verbs import _VERBS

NTM = [sys.executable, "-m", "lightning_ntm.cli"]
TINY = (
    "--model LSTM --model.hidden_size 8 --model.num_layers 1 --task.max_length 3 --data.validation_sequences 4 "
    "--trainer.max_steps 2 --trainer.val_check_interval 1"
)
ARGUMENTS = {
    "train": ["train", "--resume", "{}"],
    "train by name": ["train", "--name", "{}/a"],
    "train a task": ["train", "--task", "{}"],
    "train with a number": ["train", "--task.max_length", "{}"],
    "train with a configuration": ["train", "--config", "{}"],
    "evaluate": ["evaluate", "{}"],
    "evaluate lengths": ["evaluate", "run", "--lengths", "{}"],
    "figure": ["figure", "{}"],
    "explore": ["explore", "{}"],
    "explore two": ["explore", "copy", "{}"],
    "export": ["export", "{}", "--format", "safetensors"],
    "export a format": ["export", "copy", "--format", "{}"],
    "import": ["import", "{}", "--from", "pytorch-ntm"],
    "import from": ["import", "file.pt", "--from", "{}"],
    "report": ["report", "{}"],
    "zoo": ["zoo", "{}"],
    "sweep": ["sweep", "{}"],
    "sweep seeds": ["sweep", "--seeds", "{}"],
    "sweep processes": ["sweep", "--processes", "{}", "--models", "x"],
    "status": ["sweep", "--status", "{}"],
    "bench": ["bench", "--repeats", "{}", "x"],
    "no verb": ["{}"],
}
assert {*_VERBS} <= {arguments[0] for arguments in ARGUMENTS.values()}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])


def ran(*words, **more):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **more.pop("environment", {})}
    return subprocess.run([*NTM, *words], env=environment, capture_output="stdout" not in more, **more)


@pytest.mark.parametrize("word", ["a" * 100_000, "9" * 30, "a\udcffb"], ids=["long", "number", "bytes"])
@pytest.mark.parametrize("given", ARGUMENTS)
def test_any_word_gets_one_line_of_bounded_length(given, word, capsys):
    assert main([part.format(word) for part in ARGUMENTS[given]]) == 2
    (said,) = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("ntm: warning: ")]
    assert said.startswith("ntm: error: ")
    assert len(said) < 3000
    assert said.isprintable()


def test_escape_sequences_do_not_reach_the_terminal(capsys):
    assert main(["evaluate", "\x1b[31mred"]) == 2
    assert "\\x1b[31mred" in capsys.readouterr().err
    assert main(["train", "--name", "\x1b[31mred"]) == 2
    assert "must be a plain folder name" in capsys.readouterr().err


@pytest.mark.parametrize("name", [" a", "a ", "a\nb", "\x1b[31m", ".a", "../a", "a" * 201])
@pytest.mark.parametrize("words", ["train", "train --seeds 1-2", "sweep --seeds 1", "import x --from pytorch-ntm"])
def test_every_verb_refuses_the_same_names(words, name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*words.split(), "--name", name]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"ntm: error: --name (={name!r}) must be a plain folder name")
    assert told.count("\n") == 1
    assert not list(tmp_path.iterdir())


#: Runs several commands, whose words are decoded as those of a process.
ALL = """
import os, sys
from lightning_ntm.cli import main
for words in eval(sys.argv[1]):
    sys.argv = ["ntm", *(os.fsdecode(word.encode()) for word in words)]
    if main():
        sys.exit(1)
"""


def test_files_are_utf_8_whatever_the_locale():
    name, c = "copié-雪", {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "OMP_NUM_THREADS": "1"}
    Path(f"{name}.yaml").write_text(f"name: {name}\n", encoding="utf-8")
    lines = [
        ["train", *TINY.split(), "--config", f"{name}.yaml"],
        ["evaluate", f"runs/{name}", "--sequences", "2", "--lengths", "2"],
        ["report", "runs"],
    ]
    done = subprocess.run([sys.executable, "-c", ALL, ascii(lines)], env={**os.environ, **c}, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert name in (Path("runs") / name / "config.yaml").read_text(encoding="utf-8") or (
        yaml.safe_load((Path("runs") / name / "config.yaml").read_text(encoding="utf-8"))["name"] == name
    )
    assert Path("runs/report.html").exists()


def test_an_ascii_terminal_is_no_error():
    write_run(Path("é"))
    done = ran("report", "é", environment={"PYTHONIOENCODING": "ascii:strict"})
    assert done.returncode == 0, done.stderr


TEXTS = [
    "train --help",
    "train --help-all",
    "train --model.help LSTM",
    "train --print_config",
    "sweep --help",
    "evaluate --help",
]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("words", ["evaluate nothing", "zzz", "train --zzz", "sweep --seeds x"])
def test_a_full_disk_behind_both_streams_leaves_the_exit_code(words):
    assert Forked(words.split(), streams=[os.devnull, "/dev/full", "/dev/full"]).wait() == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_leaves_the_exit_code_when_the_interpreter_ends():
    with open("/dev/full", "w") as full:
        assert ran("zzz", stdout=full, stderr=full).returncode == 2
        assert ran("--help", stdout=full, stderr=subprocess.PIPE).returncode == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("words", ["--help", "--version", "report run", "sweep --status s", *TEXTS])
def test_a_full_disk_behind_the_output_is_one_line(words):
    write_run(Path("run"))
    Path("s").mkdir()
    Path("s/plan.yaml").write_text("name: s\nruns: {a: [--seed=1]}\n")
    said = Path("said")
    assert Forked(words.split(), streams=[os.devnull, "/dev/full", said]).wait() == 2, said.read_text()
    assert said.read_text().count("\n") == 1
    assert said.read_text() == "ntm: error: standard output: No space left on device\n"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a sweep of two runs."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train_two("kept")
    return folder / "kept"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("name", [name for name in verbs.WORDS if name not in ("bench", "import")])
def test_a_full_disk_behind_the_output_of_every_verb(name, trained):
    shutil.copytree(trained, "runs")
    Path("out").mkdir()
    serving = verbs.verb_of(name) == "sweep"
    given = verbs.words(name, "runs/bad", "runs", "out")
    code = Forked(given, streams=[os.devnull, "/dev/full", "said"], serving=serving).wait()
    said = [line for line in Path("said").read_text().splitlines() if line.startswith("ntm: error: ")]
    assert (code, said) == (2, ["ntm: error: standard output: No space left on device"])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_behind_the_table_of_bench(monkeypatch, capsys):
    monkeypatch.setattr(bench, "_measured", lambda repeats, device: [])
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main(["bench", "--json"]) == 2
    assert capsys.readouterr().err == "ntm: error: No space left on device\n"


@pytest.mark.parametrize("verb", _VERBS)
def test_a_working_folder_that_was_deleted_is_one_line(verb, tmp_path, capsys, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert main([verb, "a"]) == 2
    assert capsys.readouterr().err == "ntm: error: the folder you work in does not exist any more.\n"
    monkeypatch.chdir(tmp_path)


def test_a_name_is_printed_as_it_is_and_quoted_in_commands(capsys):
    name = "[red]it's a run"
    assert main(["train", *TINY.split(), "--name", name]) == 0
    printed = capsys.readouterr().out
    assert f"{name}: means over sequences in validation" in printed
    assert shlex.join(["ntm", "evaluate", f"runs/{name}"]) in printed
    assert main(["train", *TINY.split(), "--name", name]) == 2
    assert f"--resume {shlex.quote(f'runs/{name}')}" in capsys.readouterr().err


def test_the_home_folder_is_meant_by_a_tilde_everywhere(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir("/")
    (tmp_path / "mine.yaml").write_text("runs: ~/runs\nname: b\n")
    assert main(["train", *TINY.split(), "--runs=~/runs", "--name", "a"]) == 0
    assert main(["train", *TINY.split(), "--config=~/mine.yaml"]) == 0
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"a", "b"}
    assert main(["train", "--resume=~/runs/a", "--trainer.max_steps", "3"]) == 0
    assert main(["evaluate", "~/runs/a", "--sequences", "2", "--lengths", "2"]) == 0
    assert main(["report", "~/runs"]) == 0
    assert (tmp_path / "runs" / "report.html").exists()


OBJECT = """
from lightning_ntm import LSTM
class Holds(LSTM):
    def __init__(self, input_size, output_size, thing: object = {1, 2}):
        super().__init__(input_size, output_size, hidden_size=4)
class Odd:
    pass
class Odder(LSTM):
    def __init__(self, input_size, output_size, thing: Odd = Odd()):
        super().__init__(input_size, output_size, hidden_size=4)
"""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["Odder"])
def test_what_yaml_cannot_hold_is_refused_before_the_run_begins(name, capsys):
    Path("odd.py").write_text(OBJECT)
    assert main(["train", *TINY.split()[6:], "--model", f"odd.{name}", "--name", "a"]) == 2
    said = capsys.readouterr().err
    assert said.splitlines()[-1].startswith("ntm: error: ")
    assert not Path("runs").exists()


UNMADE = """
from lightning.pytorch.callbacks import Callback
class Raises(Callback):
    def __init__(self):
        raise RuntimeError("the server of callbacks is away")
class Imports(Callback):
    def __init__(self):
        import a_package_that_is_not_there
"""


@pytest.mark.parametrize(("option", "reason"), [
    ("--trainer.callbacks unmade.Raises", "the server of callbacks is away"),
    ("--trainer.callbacks unmade.Imports", "No module named 'a_package_that_is_not_there'"),
    ("--trainer.callbacks not_there.Anything", "No module named 'not_there'"),
])  # fmt: skip
def test_why_a_callback_cannot_be_made_is_said_before_the_run_begins(option, reason, capsys):
    Path("unmade.py").write_text(UNMADE)
    assert main(["train", *TINY.split(), *option.split(), "--name", "a"]) == 2
    assert capsys.readouterr().err.endswith(f"{reason}\n")
    assert not Path("runs").exists()


@pytest.mark.parametrize("words", [
    "explore copy --html /dev/null/page.html", "train --task Copy --runs /dev/null/runs --name a",
    "report kept --output /dev/null/page",
])  # fmt: skip
def test_an_error_of_the_system_names_the_file_without_a_number(words, trained, monkeypatch, capsys):
    monkeypatch.chdir(trained.parent)
    assert main(words.split()) == 2
    _, _, said = capsys.readouterr().err.partition("ntm: error: ")
    assert "Errno" not in said
    assert said.startswith("/dev/null")


def test_counts_have_the_singular():
    assert [counted(number, "run") for number in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]


def test_a_note_below_a_table_with_errors_is_about_the_rows_without():
    clean, wrong = {"sequences": 100, "share_wrong_at_most": 0.03}, {"sequences": 100}
    assert "Not one error in 100 sequences" in results._confidence([clean])
    said = results._confidence([wrong, clean])
    assert "A row without an error in 100 sequences shows that at most 3 in 100 have one" in said
    assert "Not one error" not in said


@pytest.mark.parametrize("columns", [bench._OF_CPU, bench._OF_GPU])
def test_the_table_of_bench_has_a_line_for_each_row_at_80_columns(columns):
    row = {
        name: 2 if shown == "{}" else 123.45 if shown.endswith("f}") else 0.5 for name, (_, shown) in columns.items()
    }
    row |= {"shape": {"batch": 16, "length": 20, "memory_slots": 128}, "device": "a processor"}
    shown = Console(width=80, file=io.StringIO())
    shown.print(bench._table([row, row], columns))
    lines = shown.file.getvalue().splitlines()
    rows = [line.rstrip() for line in lines if line.startswith("16 x 20, 128 ")]
    assert len(rows) == 2
    assert lines[-2].rstrip() == rows[0]
    assert "…" not in shown.file.getvalue()
    assert len(rows[0].replace("16 x 20, 128", "").split()) == len(columns)
