"""The numbers of the page against those computed by hand from the rows, and what it says of what is missing."""

import errno
import json
import math
import re
import shutil
import statistics
import xml.etree.ElementTree as ET
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from runs import write_run
from safetensors.numpy import save_file

from lightning_ntm.cli import main
from lightning_ntm.intervals import wilson
from lightning_ntm.records import RunFolder
from lightning_ntm.records.labels import labels
from lightning_ntm.report import write_report
from lightning_ntm.report.curves import draw_curves
from lightning_ntm.report.experiment import read_experiment
from lightning_ntm.report.figures import Figures
from lightning_ntm.report.page import render


def table(html, marker):
    """Return the cells, as text, of the first table after some words."""
    after = html[html.index(marker) :]
    rows = re.findall(r"<tr.*?</tr>", after[: after.index("</table>")], flags=re.DOTALL)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, flags=re.DOTALL) for row in rows]
    return [[unescape(re.sub(r"<[^>]+>", "", cell)) for cell in row] for row in cells]


def text(html, start, end):
    return unescape(re.sub(r"<[^>]+>", "", html[html.index(start) : html.index(end)]))


def rows_of(run, split):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if f"{split}_wrong_bits" in row]


def written(value):
    """Numbers as the page writes them."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value == 0 or value >= 0.005 else f"{value:.1g}"


def counted(value):
    """Batches and seconds as the page writes them."""
    return f"{value:,.0f}" if value >= 10 or value == round(value) else f"{value:.1f}"


def summed(values):
    """A mean and a deviation as the page writes them."""
    mean, std = statistics.mean(values), statistics.pstdev(values)
    digits = 0 if mean >= 100 and (std >= 10 or std == 0) else 2
    return f"{mean:,.{digits}f} ± {std:,.{digits}f}"


def drawn(experiment, measure, scale):
    return draw_curves(experiment, "validation", experiment.measures.named(measure), scale)


def report(folder):
    return write_report([folder])[0].read_text()


def report_without_figures(folder):
    none = Figures({"validation": [], "training": [], "seeds": [], "lengths": []}, {})
    return render(read_experiment(folder), none)


def test_in_the_name_of_a_network_choices_come_before_sizes():
    networks = [
        {"model": "a.NTM", "model.hidden_size": size, "model.controller": kind} for size, kind in ((3, "x"), (4, "y"))
    ]
    assert labels(networks) == ["NTM, controller x, hidden size 3", "NTM, controller y, hidden size 4"]


def test_the_tables_hold_what_the_rows_say(trained, page):
    html = page.read_text()
    success = {row[0]: row[1:] for row in table(html, 'id="success"')}
    final = {row[0]: row[1:] for row in table(html, "Cost at the end")}
    for network in ("NTM", "LSTM"):
        runs = sorted(trained.glob(f"{network.lower()}-*"))
        assert len(runs) == 3
        validations = [rows_of(run, "validation") for run in runs]
        solved = sum(min(row["validation_wrong_bits"] for row in rows) == 0 for rows in validations)
        below = [next((row for row in rows if row["validation_wrong_bits"] < 0.1), None) for rows in validations]
        told = success[network]
        assert told[0] == f"{solved} of 3"
        assert told[1] == {0: "0 to 56 %", 1: "6 to 79 %", 2: "21 to 94 %", 3: "44 to 100 %"}[solved]
        if None in below:
            never = below.count(None)
            assert told[3] == f"never ({never} seed{'s' * (never != 1)})"
        else:
            steps = [row["step"] for row in below]
            assert told[2:4] == [counted(statistics.median(steps)), counted(max(steps))]
            seconds = [row["seconds"] for row in below]
            assert told[4:6] == [counted(statistics.median(seconds)), counted(max(seconds))]
        for place, measure in ((0, "wrong_bits"), (3, "bits_per_sequence")):
            last = [rows[-1][f"validation_{measure}"] for rows in validations]
            assert final[network][place : place + 3] == [
                summed(last),
                written(statistics.median(last)),
                written(max(last)),
            ]


def test_parameters_are_those_of_the_network(page):
    from lightning_ntm import LSTM, NTM

    success = {row[0]: row[1:] for row in table(page.read_text(), 'id="success"')}
    for model in (NTM(3, 2, hidden_size=24, memory_slots=8, memory_width=6), LSTM(3, 2, hidden_size=24, num_layers=1)):
        assert success[type(model).__name__][6] == f"{sum(p.numel() for p in model.parameters()):,}"


def test_chance_is_that_of_the_validation_sequences(page):
    drawn = page.parent / "figures" / "validation-wrong-bits.svg"  # three vectors of two bits
    assert "chance: 3" in drawn.read_text()


def test_the_cost_by_length_is_that_of_the_evaluations(trained, page):
    cells = table(page.read_text(), 'id="lengths"')
    runs = sorted(trained.glob("ntm-*"))
    results = [json.loads((run / "evaluation.json").read_text())["results"] for run in runs]
    assert [row[:3] for row in cells[1:]] == [["NTM", length, "3"] for length in "235"]
    for place, row in enumerate(cells[1:]):
        wrong = [result[place]["wrong_bits"] for result in results]
        assert row[3] == summed(wrong)
        assert row[4:6] == [written(statistics.median(wrong)), written(max(wrong))]


def test_the_embedded_data_are_the_rows(trained, page):
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text())[1])
    assert [run["name"] for run in data["runs"]] == sorted(run.name for run in trained.glob("*-copy-*"))
    for run in data["runs"]:
        for split in ("train", "validation"):
            rows = rows_of(trained / run["name"], split)
            assert run[split]["step"] == [row["step"] for row in rows]
            for measure in ("wrong_bits", "bits_per_sequence"):
                exact = [row[f"{split}_{measure}"] for row in rows]
                assert run[split][measure] == pytest.approx(exact, rel=1e-3)


def test_the_drawn_mean_passes_through_the_means(tmp_path):
    for seed, costs in enumerate(([8.0, 2.0, 0.0], [4.0, 4.0, 2.0]), start=1):
        write_run(tmp_path / f"seed{seed}", seed=seed, costs=costs)
    html = report(tmp_path)
    plot = re.search(r'<figure class="plot" data-split="validation" data-measure="wrong_bits" .*?</figure>', html)[0]
    box, limits = ([float(n) for n in re.search(f'data-{name}="([^"]*)"', plot)[1].split()] for name in ("box", "y"))
    thick = next(re.search(r' d="([^"]+)"', path)[1] for path in re.findall("<path[^>]*>", plot) if "width: 2" in path)
    heights = [float(y) for _, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", thick)]
    drawn = [limits[0] + (box[3] - y) / (box[3] - box[1]) * (limits[1] - limits[0]) for y in heights]
    assert drawn == pytest.approx([6, 3, 1], abs=0.02)  # a tenth of a point of 200


def test_a_known_optimum_is_drawn_and_costs_are_judged_by_the_regret(tmp_path):
    for seed, costs in enumerate(([50.0, 44.5, 44.6], [50.0, 48.0, 46.0]), start=1):
        run = write_run(tmp_path / f"seed{seed}", task="DynamicNGrams", seed=seed, costs=costs, optimum=133.0)
    row = {"length": 200, "wrong_bits": 46.0, "bits_per_sequence": 138.0, "perfect": 0.0, "sequences": 10}
    told = {"step": 300, "results": [{**row, "optimal_bits": 132.75, "regret_bits": 5.25}]}
    (run / "evaluation.json").write_text(json.dumps(told))
    html = report(tmp_path)
    assert "1 of 2 seeds solved; 2.90 ± 2.10 bits of regret at the end" in text(html, "<h1>", "<main>")
    assert table(html, 'id="success"')[1][1:5] == ["1 of 2", "9 to 91 %", "never", "never (1 seed)"]
    final = table(html, "Cost at the end")[1]
    assert final[1:4] == ["2.90 ± 2.10", "2.90", "5.00"]
    assert final[7] == "135.90 ± 2.10"
    assert table(html, 'id="lengths"')[1][-3:] == ["5.25"] * 3
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html)[1])
    assert data["runs"][0]["validation"]["regret_bits"] == [17.0, 0.5, 0.8]
    assert data["runs"][1]["evaluation"]["regret_bits"] == [5.25]
    assert "Its best validation cost at most one bit more than the optimum." in html
    assert re.search(r'id="measure-regret-bits" checked', html)
    drawn = {path.stem for path in (tmp_path / "figures").glob("*.svg")}
    assert "validation-regret-bits-log" in drawn
    assert "training-regret-bits" not in drawn
    for name, drawn in (("validation-bits-per-sequence", True), ("training-bits-per-sequence", False),
                        ("validation-wrong-bits", False)):  # fmt: skip
        assert ("optimum (133.0)" in (tmp_path / "figures" / f"{name}.svg").read_text()) == drawn
    assert ">optimum<" in (tmp_path / "figures" / "lengths-bits-per-sequence.svg").read_text()


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_each_network_has_the_line_of_the_optimum_on_its_seeds_within_the_picture(tmp_path, scale):
    for seed, optimum in ((1, 85.0), (2, 75.0)):
        write_run(tmp_path / f"a{seed}", task="DynamicNGrams", costs=[60.0, 50.0], seed=seed, optimum=optimum)
    write_run(tmp_path / "b", task="DynamicNGrams", costs=[60.0, 50.0], hidden=7, optimum=85.0)
    write_run(tmp_path / "begun", task="DynamicNGrams", costs=[], seed=3, result=False)
    figure = drawn(read_experiment(tmp_path), "bits_per_sequence", scale)
    [axis], told = figure.axes, [text.get_text() for text in figure.legends[0].texts]
    level = {line.get_ydata()[0] for line in axis.lines if len(set(line.get_ydata())) == 1}
    assert level == {80.0, 85.0}
    assert axis.get_ylim()[0] < 80 < axis.get_ylim()[1]
    assert "optimum on its seeds" in told


def test_runs_measured_without_their_regret_are_compared_by_what_all_have(tmp_path):
    write_run(tmp_path / "old", task="DynamicNGrams", costs=[50.0, 45.0])
    write_run(tmp_path / "new", task="DynamicNGrams", costs=[50.0, 44.4], seed=2, optimum=133.0)
    write_run(tmp_path / "begun", task="DynamicNGrams", costs=[], seed=3, optimum=133.0, result=False)
    html = report_without_figures(tmp_path)
    assert "44.70 ± 0.30 wrong bits at the end" in text(html, "<h1>", "<main>")
    assert "Regret is left out: these runs were measured without it: old." in html
    assert 'id="measure-regret-bits"' not in html


def test_a_run_that_went_on_with_a_newer_version_has_its_regret_from_the_beginning(tmp_path):
    run = write_run(tmp_path / "a", task="DynamicNGrams", costs=[50.0, 44.5, None, 44.4], optimum=133.0)
    lines = (run / "metrics.jsonl").read_text().splitlines()
    old = [{k: v for k, v in json.loads(line).items() if "optimal" not in k and "regret" not in k} for line in lines]
    (run / "metrics.jsonl").write_text("\n".join([*map(json.dumps, old[:6]), *lines[6:]]) + "\n")
    [read] = read_experiment(tmp_path).runs
    assert np.nan_to_num(read.validation.values["regret_bits"], nan=-1).round(9).tolist() == [17.0, 0.5, -1.0, 0.2]
    assert read.close == (200.0, 4.0)


def test_a_regret_that_is_no_number_is_left_out(tmp_path):
    run = write_run(tmp_path / "a", task="Mine")
    row = {"length": 200, "wrong_bits": 46.0, "bits_per_sequence": 138.0, "perfect": 0.0, "sequences": 10}
    told = {"step": 300, "results": [{**row, "optimal_bits": None, "regret_bits": None}]}
    (run / "evaluation.json").write_text(json.dumps(told))
    assert table(report(tmp_path), 'id="lengths"')[1][-3:] == ["\u2013"] * 3


def test_shares_of_sequences_without_an_error_say_how_far_they_can_be_trusted(tmp_path):
    for name, shares in (("a", (1.0, 0.98, 0.0)), ("b", (1.0, 1.0, 0.0))):
        rows = [
            {"length": place, "wrong_bits": 1 - share, "bits_per_sequence": 0.1, "perfect": share, "sequences": 150}
            for place, share in enumerate(shares)
        ]
        RunFolder(write_run(tmp_path / name, seed=ord(name))).keep_evaluation(300, rows, 2)
    low, high = (f"{100 * bound:.3g}" for bound in wilson(297, 300))
    least = f"{100 * wilson(300, 300)[0]:.3g}"
    assert [row[-1] for row in table(report(tmp_path), 'id="lengths"')[1:]] == [
        f"100 % ({least} to 100 %)",
        f"99 % ({low} to {high} %)",
        "0 % (0 to 1.26 %)",
    ]


@pytest.mark.parametrize("bad", [{"sequences": 0}, {"sequences": -3}, {"perfect": 2.0}, {"sequences": 1.5}])
def test_an_evaluation_that_counts_no_sequences_is_damaged(tmp_path, bad):
    row = {"length": 20, "wrong_bits": 1.0, "bits_per_sequence": 2.0, "perfect": 0.0, "sequences": 100, **bad}
    RunFolder(write_run(tmp_path / "a")).keep_evaluation(300, [row], 2)
    assert read_experiment(write_run(tmp_path / "b").parent).skipped[0].reason.startswith("evaluation.json is damaged")


def test_an_evaluation_of_a_network_that_answers_nan_is_reported(tmp_path):
    run = write_run(tmp_path / "a")
    row = {"length": 20, "wrong_bits": 160.0, "bits_per_sequence": math.nan, "perfect": 0.0, "sequences": 100}
    RunFolder(run).keep_evaluation(300, [row], 2)
    shown = table(report(tmp_path), 'id="lengths"')[1]
    assert shown[3:6] == ["160"] * 3
    assert shown[6] == "\u2013"
    assert shown[7].startswith("0 %")


def test_long_names_of_networks_stay_within_the_picture(tmp_path):
    for hidden in range(10**12, 10**12 + 4):
        write_run(tmp_path / str(hidden), hidden=hidden)
    config = tmp_path / str(hidden) / "config.yaml"
    config.write_text(
        config.read_text().replace("    backend", "".join(f"    option_{n}: {n}\n" for n in range(20)) + "    backend")
    )
    figure = drawn(read_experiment(tmp_path), "wrong_bits", "linear")
    [legend] = figure.legends
    assert legend.get_window_extent().width <= figure.bbox.width


def test_the_page_and_its_figures_need_nothing_else(page):
    html = page.read_text()
    assert "http" not in html
    assert not re.search(r"@import|url\((?!#)|<link(?! rel=\"icon\" href=\"data:,\")|\ssrc=", html)
    ids = re.findall(r'\sid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    references = {name for pair in re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', html) for name in pair if name}
    assert references <= set(ids)
    figures = page.parent / "figures"
    stems = {path.stem for path in figures.iterdir()}
    kinds = ("training", "validation", "seeds", "lengths")
    ends = [f"{measure}{scale}" for measure in ("wrong-bits", "bits-per-sequence") for scale in ("", "-log")]
    assert stems == {f"{kind}-{end}" for kind in kinds for end in ends}
    for stem in stems:
        assert (figures / f"{stem}.png").read_bytes().startswith(b"\x89PNG")
        assert ET.parse(figures / f"{stem}.svg").getroot().tag.endswith("svg")


def test_what_did_not_finish_is_named(tmp_path):
    write_run(tmp_path / "good", seed=1)
    write_run(tmp_path / "given-up", seed=2, costs=[5.0], result=False)
    (tmp_path / "given-up" / "failed.json").write_text('{"attempts": 3, "message": "out of <memory>"}')
    write_run(tmp_path / "diverged", seed=3, costs=[7.0], result=False)
    (tmp_path / "diverged" / "nonfinite.json").write_text('{"step": 123}')
    write_run(tmp_path / "going", seed=4, costs=[6.0], result=False)
    write_run(tmp_path / "resumed", seed=5)
    (tmp_path / "resumed" / "result.json").write_text('{"step": 200}')
    write_run(tmp_path / "begun", seed=6, costs=[], result=False)
    write_run(tmp_path / "stillborn", seed=7, costs=[], result=False)
    (tmp_path / "stillborn" / "failed.json").write_text('{"attempts": 1, "message": "no"}')
    write_run(tmp_path / "damaged", seed=8)
    (tmp_path / "damaged" / "metrics.jsonl").write_text("x\n")
    write_run(tmp_path / "evaluated-badly", seed=9)
    (tmp_path / "evaluated-badly" / "evaluation.json").write_text("{")
    write_run(tmp_path / "misconfigured", seed=10)
    with (tmp_path / "misconfigured" / "config.yaml").open("a") as file:
        file.write("cut of")
    (tmp_path / "refused").mkdir()
    (tmp_path / "refused" / "failed.json").write_text('{"attempts": 1, "message": "no such option"}')
    write_run(tmp_path / "went-on", seed=11, costs=[8.0], result=False)
    (tmp_path / "went-on" / "nonfinite.json").write_text('{"step": 50}')
    write_run(tmp_path / "without-end", seed=12)
    (tmp_path / "without-end" / "result.json").write_text('{"step": null}')
    html = report_without_figures(tmp_path)
    missing = {row[0]: row[1:] for row in table(html, 'id="not-finished"')[1:]}
    assert missing == {
        "given-up": ["failed", "given up after 3 attempts: out of <memory>"],
        "diverged": ["failed", "loss or gradient was not finite in step 123"],
        "going": ["unfinished", "stands at step 100"],
        "resumed": ["unfinished", "stands at step 300"],
        "begun": ["unfinished", "has not measured anything yet"],
        "stillborn": ["failed", "given up after 1 attempts: no"],
        "damaged": ["not readable", f"{tmp_path / 'damaged' / 'metrics.jsonl'}, line 1, is damaged: "
                    "it is no JSON object with a step."],
        "misconfigured": ["not readable", "config.yaml is damaged: it is not YAML."],
        "evaluated-badly": ["not readable", "evaluation.json is damaged: it is no JSON object."],
        "refused": ["not readable", "it never began: no such option"],
        "went-on": ["unfinished", "stands at step 100"],
        "without-end": ["not readable", "result.json is damaged: it has no step."],
    }  # fmt: skip
    assert "3 failed, 4 unfinished, 5 not readable" in text(html, '<p class="warning">', "<main>")
    # Tried are those that ended: one good, three failed.
    assert table(html, 'id="success"')[1][1:4] == ["1 of 4", "5 to 70 %", "never"]
    assert table(html, "Cost at the end")[1][1] == f"{summed([0, 5, 7])} (3 of 4 seeds)"


def test_nothing_measured_at_all_still_makes_a_page(tmp_path):
    write_run(tmp_path / "begun", costs=[], result=False)
    assert "no run has ended yet. 1 not finished yet." in text(report(tmp_path), "<h1>", "<main>")


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_a_single_validation_is_drawn_as_a_dot(tmp_path, scale):
    write_run(tmp_path / "one", costs=[4.0])
    write_run(tmp_path / "two", model="LSTM", costs=[4.0, 2.0])
    [axis] = drawn(read_experiment(tmp_path), "wrong_bits", scale).axes
    dots = {line.get_gid(): line.get_xydata().tolist() for line in axis.lines if line.get_marker() == "o"}
    assert sorted(name.partition("-")[0] for name in dots) == ["mean", "run"]
    assert "run-0" in dots
    assert all(points == [[100, 4]] for points in dots.values())


def test_networks_of_one_class_are_told_apart_by_what_differs(tmp_path):
    for hidden in (50, 100):
        for seed in (1, 2):
            write_run(tmp_path / f"h{hidden}-s{seed}", seed=seed, hidden=hidden)
    write_run(tmp_path / "lstm", model="LSTM", hidden=50)
    html = report_without_figures(tmp_path)
    names = [row[0] for row in table(html, 'id="success"')[1:]]
    assert sorted(names) == ["LSTM", "NTM, hidden size 100", "NTM, hidden size 50"]
    differing = table(html, "In what the networks differ")
    assert sorted(row[0] for row in differing[1:]) == ["model", "model.hidden_size"]
    assert dict(zip(differing[0], differing[2], strict=True))["NTM, hidden size 50"] == "50"


def test_an_evaluation_of_weights_that_are_no_longer_kept_is_told(tmp_path):
    measured = {"wrong_bits": 1.0, "bits_per_sequence": 2.0, "perfect": 0.5, "sequences": 10}
    for seed, (name, step) in enumerate((("now", 300), ("old", 200))):
        run = write_run(tmp_path / name, seed=seed, costs=[4.0, 2.0, 1.0])
        save_file({"weight": np.zeros(1)}, run / "best.safetensors", {"step": "300"})
        results = [{"length": length, "repeats": 2, **measured} for length in (5, 10)] + [
            {"length": 10, "repeats": 4, **measured}
        ]
        (run / "evaluation.json").write_text(json.dumps({"step": step, "results": results}))
    html = report(tmp_path)
    assert "Other weights are kept by now, evaluate again: old." in html
    cells = table(html, 'id="lengths"')
    assert cells[0][1] == "length x repeats"
    assert [row[1] for row in cells[1:]] == ["5 x 2", "10 x 2", "10 x 4"]


def test_evaluations_on_other_episodes_are_not_mixed(tmp_path):
    measured = {"length": 20, "bits_per_sequence": 2.0, "perfect": 0.5, "sequences": 10}
    for seed, (name, cost, version) in enumerate((("old", 9.0, {}), ("new", 1.0, {"version": 2}), ("none", None, {}))):
        run = write_run(tmp_path / name, seed=seed, costs=[4.0, 2.0, 1.0])
        if cost is not None:
            told = {"step": 300, **version, "results": [{"wrong_bits": cost, **measured}]}
            (run / "evaluation.json").write_text(json.dumps(told))
    html = report(tmp_path)
    assert "Left out, as they were evaluated on other episodes, evaluate again: old." in html
    assert [row[1:4] for row in table(html, 'id="lengths"')[1:]] == [["20", "1", "1.00"]]
    (tmp_path / "new" / "evaluation.json").unlink()
    html = report(tmp_path)
    assert "Left out" not in html
    assert [row[1:4] for row in table(html, 'id="lengths"')[1:]] == [["20", "1", "9.00"]]


def test_a_seed_that_was_trained_twice_counts_once(tmp_path):
    for folder, cost in (("first", 0.0), ("second", 1.0)):
        for seed in (1, 2):
            write_run(tmp_path / folder / f"seed{seed}", seed=seed, costs=[4.0, 2.0, cost])
    write_run(tmp_path / "first" / "other", seed=1, hidden=50)
    experiment = read_experiment(tmp_path)
    assert [(network.solved, len(network.runs)) for network in experiment.networks] == [(2, 2), (1, 1)]
    assert {(run.name, run.state) for run in experiment.skipped} == {
        ("second/seed1", "repeated"),
        ("second/seed2", "repeated"),
    }
    told = f"has the configuration and the seed of {tmp_path / 'first' / 'seed1'}"
    assert told in report_without_figures(tmp_path)


def test_reports_of_other_names_have_figures_of_their_own(tmp_path):
    runs = [write_run(tmp_path / name, seed=seed) for seed, name in enumerate("ab")]
    write_report([runs[0]], tmp_path / "one.html")
    kept = {path: path.read_bytes() for path in (tmp_path / "one-figures").iterdir()}
    write_report([runs[1]], tmp_path / "two.html")
    write_report([runs[1]], tmp_path)
    assert kept == {path: path.read_bytes() for path in (tmp_path / "one-figures").iterdir()}
    assert {path.name for path in tmp_path.iterdir()} >= {"figures", "two-figures", "report.html", "two.html"}


def test_networks_without_a_panel_are_named(tmp_path):
    for hidden in range(1, 15):
        write_run(tmp_path / str(hidden), hidden=hidden)
    assert "Only in the files seeds-*.png and .svg: NTM, hidden size " in report_without_figures(tmp_path)


def test_words_from_files_are_harmless(tmp_path):
    evil = "<img src=x onerror=alert(1)>"
    run = write_run(tmp_path / f"{evil}$x$" / "a&<b>", model=f"my.{evil}", result=False)
    (run / "failed.json").write_text(json.dumps({"attempts": evil, "message": "</script>" + evil}))
    (run / "about.jsonl").write_text(json.dumps({"versions": {evil: evil}, "machine": evil}) + "\n")
    html = report(tmp_path)
    assert "<img" not in html
    assert "<b>s" not in html
    assert html.count("</script>") == 2


def test_a_report_is_made_again_the_same(tmp_path, capsys):
    run = write_run(tmp_path / "runs" / "a")
    page, made = tmp_path / "new" / "ten.html", []
    for _ in range(2):
        assert main(["report", str(run), "--output", str(page)]) == 0
        told = capsys.readouterr().out.splitlines()
        assert told == [str(page), f"{tmp_path / 'new' / 'ten-figures'}: 24 figures"]
        made.append({path.name: path.read_bytes() for path in page.parent.rglob("*.*")})
    assert made[0] == made[1]
    assert len(made[0]) == 25
    assert sorted(path.name for path in run.iterdir()) == ["about.jsonl", "config.yaml", "metrics.jsonl", "result.json"]


@pytest.mark.parametrize(("output", "mine"), [("mine.html", "mine.html"), ("", "figures/training-wrong-bits.png")])
def test_nothing_that_a_report_did_not_make_is_replaced(tmp_path, capsys, output, mine):
    run = write_run(tmp_path / "runs" / "a")
    (tmp_path / mine).parent.mkdir(exist_ok=True)
    (tmp_path / mine).write_text("my own")
    assert main(["report", str(run), "--output", str(tmp_path / output)]) == 2
    error = capsys.readouterr().err
    assert error == f"ntm: error: {tmp_path / mine} exists and was not made by ntm report; choose another --output.\n"
    assert (tmp_path / mine).read_text() == "my own"
    assert not (tmp_path / "report.html").exists()


def mistake(capsys, *words):
    assert main(["report", *map(str, words)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err.removeprefix("ntm: error: ").rstrip()


def test_mistakes_get_one_line_and_write_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run(Path("runs/copy"))
    write_run(Path("runs/repeat"), task="RepeatCopy")
    write_run(Path("versions/one"), version=1)
    write_run(Path("versions/two"), version=2)
    write_run(Path("bad/a"))
    Path("bad/a/metrics.jsonl").write_text("x\n")
    Path("empty").mkdir()
    assert mistake(capsys, "nowhere") == "folder nowhere does not exist."
    assert mistake(capsys, "empty") == "empty is not a run folder and has none in it."
    assert mistake(capsys, "runs") == (
        "the runs are of different tasks: Copy (copy), RepeatCopy (repeat); report them one task at a time with "
        "--task, or evaluate them with ntm evaluate --range for a table of all tasks."
    )
    assert mistake(capsys, "versions") == (
        "the runs are of different versions of Copy's data: 1 (one), 2 (two); report them apart."
    )
    assert mistake(capsys, "bad").startswith("none of 1 run can be reported (bad/a: bad/a/metrics.jsonl, line 1, is")
    assert mistake(capsys) == "the following arguments are required: FOLDER"
    assert mistake(capsys, "runs/copy", "--outptu", "x").startswith("unknown option --outptu; did you mean '--output'?")
    assert not list(Path().rglob("*.html"))
    assert not list(Path().rglob("*.png"))


def test_a_copy_of_a_run_is_no_further_seed(tmp_path):
    for seed in (1, 2, 3):
        run = write_run(tmp_path / f"s{seed}", seed=seed, costs=[4.0, 1.0 * (seed < 3)])
        (run / "about.jsonl").write_text(json.dumps({"id": f"{seed}", "task_version": 1}) + "\n")
    shutil.copytree(tmp_path / "s3", tmp_path / "s3-backup")
    shutil.copytree(tmp_path / "s2", tmp_path / "renamed" / "whatever")
    ahead = tmp_path / "renamed" / "whatever" / "metrics.jsonl"
    ahead.write_text(
        ahead.read_text() + ahead.read_text().splitlines()[-1].replace('"step": 200', '"step": 300') + "\n"
    )
    html = report_without_figures(tmp_path)
    assert table(html, 'id="success"')[1][1:3] == ["1 of 2", "9 to 91 %"]  # one of the copies is not finished
    told = {row[0]: row[1:] for row in table(html, 'id="not-finished"')[1:]}
    assert told["s3-backup"] == ["copy", "it is a copy of s3, which counts."]
    assert told["s2"] == ["copy", "it is a copy of renamed/whatever, which counts."]
    assert "2 copy" in html


def test_a_copy_that_was_trained_otherwise_is_another_run(tmp_path):
    run = write_run(tmp_path / "a")
    (run / "about.jsonl").write_text('{"id": "a"}\n')
    shutil.copytree(run, tmp_path / "b")
    config = (tmp_path / "b" / "config.yaml").read_text()
    (tmp_path / "b" / "config.yaml").write_text(config.replace("lr: 0.001", "lr: 0.01").replace("name: a", "name: b"))
    assert len(read_experiment(tmp_path).networks) == 2
    (tmp_path / "b" / "config.yaml").write_text(config.replace("name: a", "name: b"))
    assert [run.name for run in read_experiment(tmp_path).runs] == ["a"]


@pytest.mark.parametrize("note", [{"started": "2026-01-01T00:00:00+00:00", "command": ["ntm"]}, {}])
def test_copies_of_runs_without_an_id_are_known_too(tmp_path, note):
    run = write_run(tmp_path / "a")
    (run / "about.jsonl").write_text(json.dumps(note) + "\n")
    shutil.copytree(run, tmp_path / "b")
    other = write_run(tmp_path / "c", seed=2)
    (other / "about.jsonl").write_text(json.dumps(note | {"command": ["ntm", "--seed", "2"]}) + "\n")
    assert [run.name for run in read_experiment(tmp_path).runs] == ["a", "c"]


def test_options_that_older_runs_lack_have_their_defaults(tmp_path):
    write_run(tmp_path / "old")
    new = "min_memory_slots: 0\ndecay_after: 0.5\nstop_when_solved: 0\ndata:\n  num_workers: 0\n  batch_size: {batch}\n"
    new += "trainer:\n  gradient_clip_val: null\n  detect_anomaly: false\n"
    for seed, batch, name in ((2, 8, "same"), (3, 9, "other")):
        run = write_run(tmp_path / name, seed=seed)
        text = (run / "config.yaml").read_text()
        for after, more in (
            ("lr: 0.001", "betas: [0.9, 0.999]"),
            ("bits: 8", "min_length: 1"),
            ("auto", "stay_bias: 2.0"),
        ):
            text = text.replace(after, f"{after}\n    {more}")
        (run / "config.yaml").write_text(text + new.format(batch=batch))
    assert [[run.name for run in network.runs] for network in read_experiment(tmp_path).networks] in (
        [["old", "same"], ["other"]], [["other"], ["old", "same"]]
    )  # fmt: skip


@pytest.mark.parametrize("output", ["new/folder", "new/page.html"])
def test_a_report_that_cannot_be_written_leaves_no_folder(output, tmp_path, monkeypatch):
    def full(path, data):
        assert path.parent.is_dir()
        raise OSError(errno.ENOSPC, "no space left")

    write_run(tmp_path / "a")
    monkeypatch.setattr("lightning_ntm.report.page.write_whole", full)
    with pytest.raises(OSError, match="no space left"):
        write_report([tmp_path / "a"], tmp_path / output)
    assert {path.name for path in tmp_path.iterdir()} == {"a"}
