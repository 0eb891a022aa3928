"""What stands around the figures of a page: its title, dates and commands, tests of differences, pictures, chance."""

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest
from runs import write_answered, write_run

from lightning_ntm.cli import main
from lightning_ntm.report import heading, write_report
from lightning_ntm.report.curves import draw_curves, draw_seeds
from lightning_ntm.report.experiment import read_experiment
from lightning_ntm.report.formats import count, mean_and_std, number
from lightning_ntm.report.pictures import memory_pictures
from lightning_ntm.report.statistics import Spread, align, mann_whitney
from lightning_ntm.report.tables import comparisons

PNG = b"\x89PNG\r\n\x1a\n"


def note(run, **more):
    about = run / "about.jsonl"
    about.write_text(json.dumps({**json.loads(about.read_text()), **more}) + "\n")


def by_hand(first, second):
    """The share of all divisions whose rank sum is as far from the mean as the one observed."""
    values = np.array([*first, *second])
    ranks = np.array([(values < value).sum() + ((values == value).sum() + 1) / 2 for value in values])
    sums = np.array([sum(part) for part in itertools.combinations(ranks, len(first))])
    far = np.abs(sums - sums.mean())
    return np.mean(far >= abs(ranks[: len(first)].sum() - sums.mean()) - 1e-9)


@pytest.mark.parametrize(
    ("first", "second"),
    [([1, 2, 3], [4, 5, 6]), ([0, 0, 0.5], [0, 1, 2, np.inf]), ([3, 1], [2, 4, 0, 7]), ([1, 1], [1, 1]), ([5], [2])],
)
def test_the_test_of_a_difference_is_exact(first, second):
    found = mann_whitney(first, second)
    assert found.p == pytest.approx(by_hand(first, second))
    pairs = [(a < b) + (a == b) / 2 for a in first for b in second]
    assert found.superiority == pytest.approx(np.mean(pairs))
    assert found.p >= found.least


def test_the_p_value_of_ten_seeds_against_ten():
    assert mann_whitney(list(range(10)), list(range(10, 20))).p == pytest.approx(2 / 184_756)


def test_networks_are_compared_by_their_last_validations(tmp_path):
    for seed in (1, 2, 3):
        write_run(tmp_path / f"ntm{seed}", seed=seed, costs=[4.0, 0.0])
        write_run(tmp_path / f"lstm{seed}", model="LSTM", seed=seed, costs=[4.0, 3.0])
    html = comparisons(read_experiment(tmp_path))
    assert "<td>100 %</td><td>0.10</td>" in html
    assert "Mann-Whitney U test of the last wrong bits" in html
    assert comparisons(read_experiment(tmp_path / "ntm1")) == ""


def test_the_title_is_a_sentence_and_says_what_came_of_it(tmp_path):
    write_run(tmp_path / "a1", costs=[4.0, 0.0])
    titled = lambda: heading.title(read_experiment(tmp_path))  # noqa: E731
    assert titled() == "NTM solves Copy with 1 of 1 seed"
    write_run(tmp_path / "a2", seed=2, costs=[4.0, 2.0])
    write_run(tmp_path / "b", model="LSTM", costs=[4.0, 3.0])
    assert titled() == "NTM solves Copy with 1 of 2 seeds, LSTM with 0 of 1 seed"
    write_run(tmp_path / "c", model="GRU", costs=[4.0, 2.5])
    assert titled() == "NTM does best of 3 networks on Copy: 1 of 2 seeds solves it"
    for name in ("a2", "b", "c"):
        write_run(tmp_path / f"all/{name}", model=name, costs=[1.0, 0.0])
    assert heading.title(read_experiment(tmp_path / "all")) == "3 of 3 networks solve Copy with all seeds"
    write_run(tmp_path / "begun/a", costs=[], result=False)
    assert heading.title(read_experiment(tmp_path / "begun")) == "NTM on Copy: no run has ended yet"
    write_run(tmp_path / "both/a", costs=[3.0, 0.0])
    write_run(tmp_path / "both/b", model="LSTM", costs=[3.0, 1.0], result=False)
    both = heading.title(read_experiment(tmp_path / "both"))
    assert both == "NTM solves Copy with 1 of 1 seed; no run of LSTM has ended yet"


def test_a_title_says_that_nothing_is_solved_and_has_options_in_brackets(tmp_path):
    titled = lambda: heading.title(read_experiment(tmp_path))  # noqa: E731
    write_run(tmp_path / "a", costs=[4.0, 2.0], hidden=60)
    assert titled() == "NTM on Copy: 0 of 1 seed solved"
    write_run(tmp_path / "b", costs=[4.0, 3.0], hidden=80)
    assert titled() == "NTM (hidden size 60) and NTM (hidden size 80) on Copy: no seed solved"
    write_run(tmp_path / "c", costs=[4.0, 0.0], hidden=90)
    assert titled() == "NTM (hidden size 90) does best of 3 networks on Copy: 1 of 1 seed solves it"


def test_the_top_of_a_page_names_a_few_runs_and_counts_those_of_sweeps(tmp_path):
    over = lambda: heading.over(read_experiment(tmp_path))  # noqa: E731
    for seed in (1, 2):
        write_run(tmp_path / "sweep" / f"a{seed}", seed=seed)
    assert over() == "2 runs (sweep/a1, sweep/a2)"
    (tmp_path / "sweep" / "plan.yaml").write_text("name: x\nruns: {}\n")
    write_run(tmp_path / "alone", seed=3)
    assert over() == "3 runs (alone, sweep/a1, sweep/a2), 2 of them of the sweep sweep"
    write_run(tmp_path / "again", seed=3)
    write_run(tmp_path / "other", seed=4)
    assert over() == "4 runs, 2 of them of the sweep sweep, 1 more repeated"


def test_the_page_says_when_of_which_sweep_and_by_which_command_it_was_made(tmp_path):
    for seed, day in ((1, "2026-01-31"), (2, "2026-02-01")):
        run = write_run(tmp_path / "my sweep" / f"a{seed}", seed=seed)
        note(run, started=f"{day}T10:00:00+00:00", command=["ntm", "train", f"--seed={seed}", "--name", "a b"])
    (tmp_path / "my sweep" / "plan.yaml").write_text("name: x\nruns: {}\n")
    html = write_report([tmp_path / "my sweep"])[0].read_text()
    assert "2 runs (a1, a2) of the sweep my sweep, trained from 31 January 2026 to 1 February 2026" in html
    command = f"ntm report &#x27;{tmp_path}/my sweep&#x27;"
    assert f"<code>{command}</code>" in html
    elsewhere = write_report([tmp_path / "my sweep"], tmp_path / "a.html")[0].read_text()
    assert f"<code>{command} --output {tmp_path}/a.html</code>" in elsewhere
    assert "<span>--seed=1</span> <span>--name</span> <span>&#x27;a b&#x27;</span>" in html
    assert 'http-equiv="refresh"' not in html


def test_a_page_has_every_command_of_a_run_that_was_resumed(tmp_path):
    run = write_run(tmp_path / "a")
    about = json.loads((run / "about.jsonl").read_text())
    commands = [["ntm", "train"], *[["ntm", "train", "--resume", "a", "--trainer.val_check_interval", "5"]] * 2, None]
    notes = [json.dumps({**about, "command": command}) for command in commands]
    (run / "about.jsonl").write_text("\n".join(notes) + "\n")
    page = write_report([run])[0].read_text()
    assert "commands of its first run, in their order" in page
    found = [re.sub("<[^>]+>", "", one).split() for one in re.findall('<code class="command">(.*?)</code>', page)]
    assert found == commands[:2]


def test_chance_is_drawn_where_it_is_known(tmp_path):
    for seed in (1, 2):
        note(write_run(tmp_path / f"a{seed}", seed=seed, costs=[4.0, 1.0]), units_per_sequence=24.0)
    experiment = read_experiment(tmp_path)
    for name, expected in (("wrong_bits", 12), ("bits_per_sequence", 24)):
        [axis] = draw_curves(experiment, "validation", experiment.measures.named(name), "linear").axes
        assert [text.get_text() for text in axis.texts] == [f"chance: {expected}"]
        assert expected in [line.get_ydata()[0] for line in axis.lines]
        assert axis.get_ylim()[1] > expected
    [axis] = draw_curves(experiment, "train", experiment.measures.ordered[0], "linear").axes
    assert not axis.texts
    note(tmp_path / "a2", units_per_sequence=30.0)
    [axis] = draw_curves(read_experiment(tmp_path), "validation", experiment.measures.ordered[0], "linear").axes
    assert not axis.texts, "runs with other sequences have no common chance"
    run = write_answered(tmp_path / "b", "symbols", [8.0])
    note(run, units_per_sequence=24.0, measured_units_per_sequence=20.0)
    ending = read_experiment(run).runs[0]
    assert ending.chance(ending.measures.named("wrong_symbols")) == 15, "what comes after the end is not counted"
    assert ending.chance(ending.measures.named("bits_per_sequence")) == 48, "but is learned"
    share = read_experiment(write_answered(tmp_path / "c", "symbols", [8.0])).runs[0]
    assert share.chance(share.measures.named("accuracy")) == 0.25


def test_panels_that_are_compared_have_one_axis(tmp_path):
    write_run(tmp_path / "a", costs=[4.0, 1.0])
    write_run(tmp_path / "b", model="LSTM", costs=[9.0, 8.0])
    experiment = read_experiment(tmp_path)
    measure = experiment.measures.ordered[0]
    for scale in ("linear", "log"):
        splits = [draw_curves(experiment, split, measure, scale).axes[0] for split in ("validation", "train")]
        alone = [draw_seeds([one], measure, scale, experiment.networks).axes[0] for one in experiment.networks]
        assert len({axis.get_ylim() for axis in splits}) == len({axis.get_ylim() for axis in alone}) == 1


def test_on_a_logarithmic_axis_the_deviation_ends_at_the_lowest_seed(tmp_path):
    costs = {1: [4.0, 0.5], 2: [4.0, 8.0]}
    for seed, values in costs.items():
        write_run(tmp_path / f"a{seed}", seed=seed, costs=values)
    write_run(tmp_path / "a3", seed=3, costs=[4.0, 0.5])
    experiment = read_experiment(tmp_path)
    [axis] = draw_curves(experiment, "validation", experiment.measures.ordered[0], "log").axes
    band = axis.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == 0.5
    assert align([(np.array([1.0]), np.array([value])) for value in (3.0, 2.0)], [True, True]).least == [2.0]


def test_numbers_are_written_alike():
    assert [number(value) for value in (0.0, 0.5, 12.345, 136.2, 0.0012)] == ["0.00", "0.50", "12.35", "136", "0.001"]
    assert [count(value) for value in (0, 80.0, 1234.5, 2.5, float("inf"))] == ["0", "80", "1,234", "2.5", "never"]
    spread = Spread(136.2, 2.1, 0, 0)
    assert mean_and_std(spread, 2) == "136.20 ± 2.10"
    assert mean_and_std(Spread(154.88, 0.44, 0, 0), 2) == "154.88 ± 0.44"
    assert mean_and_std(Spread(479.1, 12.6, 0, 0), 2) == "479 ± 13"
    assert mean_and_std(Spread(479.0, 0.0, 0, 0), 2) == "479 ± 0"
    assert mean_and_std(Spread(0.0, 0.0, 0, 0), 2) == "0.00 ± 0.00"


def test_pictures_of_the_memory_are_on_the_page(tmp_path):
    for seed, cost in ((1, 3.0), (2, 0.0)):
        run = write_run(tmp_path / f"a{seed}", seed=seed, costs=[4.0, cost])
        (run / "figures").mkdir()
        (run / "figures" / "memory-length-5.png").write_bytes(PNG + bytes([seed]))
    write_run(tmp_path / "b", model="LSTM")
    (tmp_path / "b" / "figures").mkdir()
    (tmp_path / "b" / "figures" / "memory-length-5.png").write_bytes(b"no picture")
    html = memory_pictures(read_experiment(tmp_path))
    sources = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    assert len(sources) == 1
    assert "seed 2: memory-length-5" in html
    assert f"ntm figure {tmp_path / 'b'}" in html


def test_a_page_that_is_watched_is_written_until_all_runs_have_ended(tmp_path, capsys, monkeypatch):
    run = write_run(tmp_path / "sweep" / "a", result=False)
    plan = tmp_path / "sweep" / "plan.yaml"
    plan.write_text("name: sweep\nruns: {a: [--seed=1], b: [--seed=2]}\n")
    page, seen = tmp_path / "sweep" / "report.html", []

    def go_on(seconds):
        seen.append(re.findall(r'http-equiv="refresh" content="(\d+)"', page.read_text()))
        (run / "result.json").write_text('{"step": 300, "best": {}}')
        if len(seen) == 2:
            write_run(tmp_path / "sweep" / "b", seed=2)

    monkeypatch.setattr("lightning_ntm.cli.report.time.sleep", go_on)
    assert main(["report", str(tmp_path / "sweep"), "--watch", "5"]) == 0
    assert seen == [["5"], ["5"]]
    assert "refresh" not in page.read_text()
    assert "2 runs" in page.read_text()
    assert main(["report", str(tmp_path / "gone"), "--watch"]) == 2
    assert main(["report", str(tmp_path), "--watch", "0"]) == 2
    assert capsys.readouterr().err.count("\n") == 2


def test_a_report_on_several_folders_leaves_their_own_reports_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        write_run(Path("runs", name), seed=1 + (name == "b"))
    assert main(["report", "runs/a"]) == 0
    alone = Path("runs/a/report.html").read_bytes()
    capsys.readouterr()
    assert main(["report", "runs/a", "runs/b"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == str(Path("report/report.html"))
    assert main(["report", "runs/a", "runs/b", "--task", "copy"]) == 0
    assert Path("report-Copy/report.html").exists()
    assert Path("runs/a/report.html").read_bytes() == alone
    Path("report/report.html").unlink()
    assert main(["report", "runs/a", "runs/b/../a"]) == 0
    assert not Path("report/report.html").exists()
    assert not Path("runs/b/report.html").exists()
