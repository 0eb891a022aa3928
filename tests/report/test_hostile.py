"""A spoiled run folder among good ones: it is named, and the others are read, in bounded time and memory."""

import os
import resource
import time

import pytest
from hostile import SPOILED
from runs import write_run

from lightning_ntm.cli import main
from lightning_ntm.records import SkippedRunWarning, load
from lightning_ntm.report.experiment import read_experiment
from lightning_ntm.report.figures import Figures
from lightning_ntm.report.page import render
from lightning_ntm.sweep import PlannedRun, status_of


def page_of(*folders):
    experiment = read_experiment(*folders)
    return experiment, render(experiment, Figures({"validation": [], "training": [], "seeds": [], "lengths": []}, {}))


@pytest.mark.parametrize("kind", SPOILED)
def test_a_spoiled_folder_is_named_and_the_others_are_read(tmp_path, kind):
    spoil, says = SPOILED[kind]
    write_run(tmp_path / "good", seed=2)
    spoil(write_run(tmp_path / "bad"))
    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    experiment, html = page_of(tmp_path)
    status = status_of(tmp_path, PlannedRun("bad", ()))
    if "measures" in (says or ""):
        assert status.state == "unreadable"
        assert says in status.message
    assert time.monotonic() - begun < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 2 * before
    assert isinstance(status.step, int)
    html.encode()
    assert not set(html) & {"\x1b", "\0", "\a"}
    names = [run.name for run in experiment.runs]
    if says is None:
        assert names == ["bad", "good"]
        assert not experiment.skipped
    else:
        assert names == ["good"]
        [left_out] = experiment.skipped
        assert left_out.name == "bad"
        assert says in left_out.reason
        assert says in html


def test_figures_take_any_name(tmp_path):
    from lightning_ntm.report import write_report

    for number, model in enumerate(("a.$x$_{", "b.\x1b[0m" + "long" * 100, "c.<b>&")):
        run = write_run(tmp_path / f"run{number}", model="lightning_ntm.NTM")
        text = (run / "config.yaml").read_text()
        (run / "config.yaml").write_text(text.replace("lightning_ntm.NTM", '"' + model.replace("\x1b", "\\e") + '"'))
    page = write_report([tmp_path])[0].read_text()
    assert ">$x$_{</text>" in page, "drawn as it is"
    assert r"\$" not in page


def test_a_report_names_runs_with_damaged_measures_and_ends_well(tmp_path, capsys):
    write_run(tmp_path / "good", seed=2)
    bad = write_run(tmp_path / "bad")
    (bad / "measures.json").write_text("measures: [\x1b[31m]")
    assert main(["report", str(tmp_path)]) == 0
    html = (tmp_path / "report.html").read_text()
    assert "1 not readable" in html
    assert "measures.json is damaged: it is no JSON object." in html
    capsys.readouterr()
    assert main(["report", str(bad)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "measures.json is damaged" in error
    with pytest.warns(SkippedRunWarning, match=r"measures\.json is damaged"):
        assert set(load(tmp_path).run) == {"good"}


def closed(monkeypatch, folder):
    """Close a folder, as its permissions do for all but root."""
    scan = os.scandir

    def scandir(path):
        if os.fspath(path) == os.fspath(folder):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)


def test_a_folder_that_cannot_be_looked_into_is_named(tmp_path, monkeypatch):
    write_run(tmp_path / "good")
    (tmp_path / "closed").mkdir()
    closed(monkeypatch, tmp_path / "closed")
    experiment, html = page_of(tmp_path)
    [left_out] = experiment.skipped
    assert left_out.name == "closed"
    assert "closed" in html


def test_links_out_of_a_folder_are_followed_to_runs_but_not_searched(tmp_path):
    write_run(tmp_path / "mine" / "good")
    write_run(tmp_path / "elsewhere" / "deep" / "other", seed=2)
    (tmp_path / "mine" / "all").symlink_to(tmp_path / "elsewhere")
    assert [run.name for run in page_of(tmp_path / "mine")[0].runs] == ["good"]
    (tmp_path / "mine" / "one").symlink_to(tmp_path / "elsewhere" / "deep" / "other")
    assert [run.name for run in page_of(tmp_path / "mine")[0].runs] == ["good", "one"]


def test_folders_may_be_as_deep_as_the_system_allows(tmp_path):
    write_run(tmp_path / "good")
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(400):
        os.mkdir("a long name", dir_fd=here)
        inner = os.open("a long name", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    experiment, _ = page_of(tmp_path)
    assert [run.name for run in experiment.runs] == ["good"]
    assert "too long" in experiment.skipped[0].reason
