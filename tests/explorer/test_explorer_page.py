"""The page: what is in it, where it is written, and what comes from files."""

import base64
import json
import re
import signal
from contextlib import nullcontext
from html.parser import HTMLParser

import numpy as np
import pytest
from runs import write_run

import lightning_ntm
from lightning_ntm import DNC, NTM, Copy, FileTask, explore
from lightning_ntm.cli import main
from lightning_ntm.evaluation.build import build
from lightning_ntm.evaluation.weights import save_weights
from lightning_ntm.exchange.pretrained import OpenedNetwork
from lightning_ntm.explorer import page
from lightning_ntm.explorer.episodes import layout
from lightning_ntm.models import DNCMemory, MemoryModel

SMALL = {"hidden_size": 5, "memory_slots": 6, "memory_width": 4}
TASK = Copy(bits=2, max_length=3)


def small(kind=NTM, **options):
    return kind(TASK.input_size, TASK.output_size, **SMALL, **options).eval()


def data_of(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


class Elements(HTMLParser):
    """Elements, and attributes that load something."""

    def __init__(self, page):
        super().__init__()
        self.names, self.loads = [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.names.append(tag)
        self.loads += [value for name, value in attributes if name in ("src", "href", "srcset", "action", "data")]


def test_the_page_needs_nothing_but_itself():
    page = explore(small(), TASK).html
    assert Elements(page).loads == []
    assert not re.search(r"https?:|@import|url\(|fetch\(|XMLHttpRequest|import\(", page)
    assert "default-src 'none'" in page
    assert "$" not in re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)


def test_a_page_of_a_network_with_paper_sizes_is_below_one_megabyte():
    network = NTM(9, 8)
    assert len(explore(network, Copy()).html) < 1_000_000


def test_episodes_are_of_the_training_range_and_of_evaluations():
    data = data_of(explore(small(), TASK).html)
    labels = [sample["label"] for sample in data["samples"]]
    assert labels[:2] == ["as in training 1", "as in training 2"]
    assert "length 18 (1)" in labels
    assert [sorted(sample["arrays"]) for sample in data["samples"][:2]] == [
        ["inputs", "logits", "mask", "targets"],
        ["inputs", "mask", "targets"],
    ]


def test_another_network_has_recorded_steps():
    data = data_of(explore(NTM(TASK.input_size, TASK.output_size, memory=DNCMemory(6, 4)), TASK).html)
    assert data["network"] is None
    arrays = data["samples"][0]["arrays"]
    assert {"inputs", "targets", "outputs", "memory", "usage", "read_weights", "write_weights"} <= arrays.keys()
    time = arrays["inputs"]["shape"][0]
    assert all(array["shape"][0] == time for array in arrays.values())


def test_recorded_steps_have_a_bounded_size_and_what_is_left_out_is_named():
    page = explore(DNC(9, 8, hidden_size=3, memory_slots=300, memory_width=100), Copy(max_length=4)).html
    data = data_of(page)
    numbers = sum(np.prod(array["shape"]) for sample in data["samples"] for array in sample["arrays"].values())
    assert numbers < 2**20 + 2**18
    assert "link" in " ".join(data["left_out"])
    assert len(data["samples"]) > 1


def test_a_task_of_ones_own_and_none():
    class Mine(Copy):
        """With the same episodes."""

    assert data_of(explore(small(), Mine(bits=2, max_length=3)).html)["layout"] is None
    page = explore(small()).html
    assert "<title>NTM</title>" in page
    (sample,) = data_of(page)["samples"]
    assert "targets" not in sample["arrays"]


def test_a_task_on_files():
    numbers = np.random.default_rng(0)
    train, validation = ({"inputs": numbers.normal(size=(2, 5, 3)), "targets": numbers.integers(2, size=(2, 5, 2))}
                         for _ in range(2))  # fmt: skip
    data = data_of(explore(small(), FileTask.from_arrays(train, validation)).html)
    assert [sample["label"] for sample in data["samples"]] == ["sequence 1", "sequence 2"]


def test_a_network_that_does_not_fit_the_task():
    with pytest.raises(ValueError, match=r"output_size \(=2\) of the network must be 8"):
        explore(small(), Copy())


def test_notebooks_show_the_same_page():
    page = explore(small(), TASK)
    shown = Elements(page._repr_html_())
    assert shown.names == ["iframe"]
    assert lightning_ntm.explore is explore


def test_words_of_files_stay_words(tmp_path):
    evil = "</script><img src=x onerror=alert(1)>&amp;"
    network = small()
    network.__class__ = type(evil, (NTM,), {})
    page = explore(network, TASK).html
    assert "img" not in Elements(page).names
    assert Elements(page).names.count("script") == 2


def write_trained(folder):
    run = write_run(folder)
    config = {"class_path": "lightning_ntm.NTM", "init_args": {"hidden_size": 100}}
    save_weights(build(config, MemoryModel, input_size=9, output_size=8), run / "best.safetensors", step=3)
    return run


def test_the_command_writes_the_page_of_a_run_and_of_a_saved_network(tmp_path, capsys, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    run = write_trained(tmp_path / "run")
    assert main(["explore", str(run), "--html", str(tmp_path / "a.html")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "a.html")
    assert "<title>NTM on Copy</title>" in (tmp_path / "a.html").read_text(encoding="utf-8")
    assert opened == []
    small().save_pretrained(tmp_path / "shared", task=TASK)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert main(["explore", str(tmp_path / "shared")]) == 0
    assert main(["explore", str(tmp_path / "shared"), "--no-browser"]) == 0
    assert len(opened) == 1
    assert opened[0].startswith("file:///")


@pytest.mark.parametrize("ended", [KeyboardInterrupt, EOFError, SystemExit, "SIGQUIT"])
def test_the_page_in_a_temporary_folder_is_removed_at_the_end(ended, tmp_path, monkeypatch):
    def wait():
        assert [path.name for path in tmp_path.glob("temporary/*/*")] == ["explore.html"]
        if ended == "SIGQUIT":
            signal.raise_signal(getattr(signal, ended, signal.SIGINT))
        raise ended

    monkeypatch.setattr("webbrowser.open", lambda address: True)
    monkeypatch.setattr("lightning_ntm.cli.explore._on_terminal", lambda: True)
    monkeypatch.setattr("builtins.input", wait)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    small().save_pretrained(tmp_path / "shared", task=TASK)
    with pytest.raises(SystemExit) if ended is SystemExit else nullcontext():
        assert main(["explore", str(tmp_path / "shared")]) == 0
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("missing",), "run folder missing does not exist"),
        ((".",), "is not a run folder"),
        (("run", "--html", "run/config.yaml/a.html"), "a.html: cannot write"),
        (("shared",), "config.json is damaged"),
        (("run", "--htm", "a"), "unknown option --htm; did you mean '--html'?"),
    ],
)
def test_mistakes_are_one_line(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_trained(tmp_path / "run")
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "config.json").write_text("no")
    assert main(["explore", *arguments]) == 2
    told = capsys.readouterr().err
    assert says in told
    assert told.count("\n") == 1


def test_the_logits_for_the_check_are_those_of_the_network():
    network = small()
    packed = data_of(explore(network, TASK, seed=4).html)["samples"][0]["arrays"]["logits"]
    drawn = [TASK.batch(4, "evaluation", number, 1).inputs for number in range(5)]
    longest = max(drawn, key=lambda one: one.shape[1])
    logits = network.double()(longest.double())[0][0].float()  # as precise as the page
    found = np.frombuffer(base64.b64decode(packed["data"]), "<f4").reshape(packed["shape"])
    np.testing.assert_array_equal(found, logits.detach())


def test_episodes_that_are_too_long_for_a_page_are_refused():
    with pytest.raises(ValueError, match=r"the episodes of Copy have more than 500 steps, the most of a page\."):
        explore(small(), Copy(bits=2, min_length=600, max_length=700))
    labels = data_of(explore(small(), Copy(bits=2, min_length=1, max_length=400)).html)["samples"]
    assert labels


def pages_of(html):
    """The pages in the frames of a page of two networks."""
    return [value for name, value in Frames(html).found if name == "srcdoc"]


class Frames(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.found += attributes if tag == "iframe" else []


def test_two_networks_have_the_same_episodes():
    pages = [data_of(page) for page in pages_of(explore(small(), TASK, beside=small(DNC)).html)]
    assert [page["network"]["memory"]["kind"] for page in pages] == ["ntm", "dnc"]
    assert all(page["layout"] == layout(TASK) and page["paired"] for page in pages)
    pages = [
        data_of(page)
        for page in pages_of(
            explore(small(), TASK, beside=NTM(TASK.input_size, TASK.output_size, memory=DNCMemory(6, 4))).html
        )
    ]
    assert [page["network"] is None for page in pages] == [False, True]
    assert [page["layout"] for page in pages] == [None, None]
    first, second = ([(one["label"], one["arrays"]["inputs"]) for one in page["samples"]] for page in pages)
    assert first == second


def test_two_networks_must_be_on_one_task(tmp_path, capsys):
    small().save_pretrained(tmp_path / "a", task=TASK)
    small().save_pretrained(tmp_path / "b", task=Copy(bits=2, max_length=4))
    assert main(["explore", str(tmp_path / "a"), str(tmp_path / "b"), "--html", str(tmp_path / "page.html")]) == 2
    told = capsys.readouterr().err
    assert "two networks side by side must be on one task: Copy(bits=2, min_length=1, max_length=3" in told
    assert not (tmp_path / "page.html").exists()
    assert main(["explore", str(tmp_path / "a"), str(tmp_path / "a"), "--html", str(tmp_path / "page.html")]) == 0
    assert "<title>NTM and NTM on Copy</title>" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_two_networks_must_have_inputs_of_one_size():
    says = r"^two networks side by side must have one input_size; they have 3 and 4\.$"
    for task in (TASK, None):
        with pytest.raises(ValueError, match=says):
            explore(small(), task, beside=NTM(4, 2, hidden_size=4, memory_slots=5))


def test_two_tasks_of_the_same_files_are_one(tmp_path, monkeypatch):
    for name in ("a", "b"):
        np.savez(tmp_path / f"{name}.npz", inputs=np.ones((4, 5, 3)), targets=np.ones((4, 5, 2)))
    path, other = (str(tmp_path / f"{name}.npz") for name in ("a", "b"))
    files = {"first": (path, path), "second": (path, path), "third": (path, other)}

    def opened(folder):
        model = NTM(3, 2, hidden_size=4, memory_slots=5)
        return OpenedNetwork(model, FileTask(*files[folder.name]), 1)

    monkeypatch.setattr(page, "open_network", opened)
    monkeypatch.setattr(page, "_training", lambda *call: [])
    assert len(list(pages_of(explore("first", beside="second").html))) == 2
    with pytest.raises(ValueError, match="two networks side by side must be on one task"):
        explore("first", beside="third")
