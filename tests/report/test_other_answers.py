"""Reports on runs whose answers are symbols or numbers, against the rows they are made of."""

import json
import re
import shutil
from html import unescape

import numpy as np
import pytest
from runs import ANSWERED, write_answered, write_run

from lightning_ntm.cli import main
from lightning_ntm.measures import BITS, UNCERTAIN_BITS, Measure, Measures
from lightning_ntm.records import RunFolder
from lightning_ntm.report import write_report
from lightning_ntm.report.curves import draw_curves
from lightning_ntm.report.experiment import read_experiment
from lightning_ntm.report.figures import Figures
from lightning_ntm.report.page import render


def page(folder):
    return render(
        read_experiment(folder), Figures({"validation": [], "training": [], "seeds": [], "lengths": [""]}, {})
    )


def cells(html, marker):
    after = html[html.index(marker) :]
    rows = re.findall(r"<tr.*?</tr>", after[: after.index("</table>")], flags=re.DOTALL)
    found = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, flags=re.DOTALL) for row in rows]
    return [[unescape(re.sub(r"<[^>]+>", "", cell)) for cell in row] for row in found]


@pytest.fixture
def symbols(tmp_path):
    """Two seeds, one of them solved, evaluated at two lengths."""
    for seed, costs in ((1, [8.0, 0.05, 0.0]), (2, [8.0, 4.0, 5.0])):
        run = write_answered(tmp_path / f"seed{seed}", "symbols", costs, seed=seed)
        row = {"perfect": 0.5, "sequences": 10, "bits_per_sequence": 1.0 * seed}
        rows = [{"length": 10, "wrong_symbols": 1.0 * seed, "accuracy": 1 - seed / 10, **row},
                {"length": 20, "wrong_symbols": 2.0 * seed, "accuracy": 1 - seed / 5, **row}]  # fmt: skip
        RunFolder(run).keep_evaluation(300, rows, 2)
    return tmp_path


def test_the_tables_of_symbols(symbols):
    html = page(symbols)
    assert "1 of 2 seeds solved; 2.50 ± 2.50 wrong symbols at the end" in re.sub(r"<[^>]+>", "", html)
    assert cells(html, 'id="success"')[0][3] == "batches to < 0.1: median"
    assert cells(html, 'id="success"')[1][1:5] == ["1 of 2", "9 to 91 %", "never", "never (1 seed)"]
    head, row = cells(html, "Cost at the end")
    final = dict(zip([f"{name}, {place}" for place, name in enumerate(head)], row, strict=True))
    assert final["wrong symbols: mean ± std, 1"] == "2.50 ± 2.50"
    assert final["worst, 3"] == "5.00"
    assert final["accuracy: mean ± std, 7"] == "0.75 ± 0.25"
    assert final["worst, 9"] == "0.50", "the smallest share is the worst"
    head, short, long = cells(html, 'id="lengths"')
    assert head[3:] == ["wrong symbols: mean ± std", "median", "worst", "bits per sequence: mean ± std",
                        "accuracy: mean ± std", "sequences without a wrong symbol (95 % confidence)"]  # fmt: skip
    assert short[1:8] == ["10", "2", "1.50 ± 0.50", "1.50", "2.00", "1.50 ± 0.50", "0.85 ± 0.05"]
    assert long[7] == "0.70 ± 0.10"
    head, first, _ = cells(html, '<section id="runs">')
    assert dict(zip(head, first, strict=True))["last accuracy"] == "1.00"
    assert "worst is the largest, of accuracy the smallest." in html
    assert "In its best validation no symbol was wrong." in html
    assert "Share of right symbols in an answer, mean over sequences." in html


def test_files_of_one_name_have_rows_of_their_own(tmp_path):
    for seed, cost in ((1, 0.0), (2, 30.0)):
        run = write_answered(tmp_path / f"seed{seed}", "symbols", [8.0, 0.0], seed=seed)
        row = {"wrong_symbols": cost, "bits_per_sequence": 1.0, "accuracy": 1.0, "perfect": 0.5, "sequences": 10}
        shared = {"on": "same.jsonl", "sha256": "0" * 64, **row}
        own = {"on": "test.jsonl", "sha256": f"{seed}" * 64, **row}
        RunFolder(run).keep_evaluation(200, [shared, own], 2)
    rows = [row[1:4] for row in cells(page(tmp_path), 'id="lengths"')[1:]]
    assert rows == [
        ["same.jsonl", "2", "15.00 ± 15.00"],
        ["test.jsonl (SHA-256 11111111)", "1", "0.00"],
        ["test.jsonl (SHA-256 22222222)", "1", "30.00"],
    ]
    assert main(["report", str(tmp_path)]) == 0


def test_numbers_say_of_how_many_seeds_they_are_where_others_have_none(tmp_path):
    for seed, last in ((1, 4.0), (2, 2.0), (3, float("nan"))):
        run = write_answered(tmp_path / f"seed{seed}", "numbers", [8.0, last], seed=seed)
        row = {"squared_error": last, "wrong_numbers": 1.0, "perfect": 0.5, "sequences": 10, "length": 10}
        RunFolder(run).keep_evaluation(200, [row], 2)
    html = page(tmp_path)
    said = "0 of 3 seeds solved; 3.00 ± 1.00 squared error at the end (median 3.00), of the 2 of 3 seeds with a finite"
    assert said in re.sub(r"<[^>]+>", "", html)
    assert cells(html, "Cost at the end")[1][1:4] == ["3.00 ± 1.00 (2 of 3 seeds)", "3.00", "4.00"]
    assert cells(html, 'id="lengths"')[1][1:7] == [
        "10",
        "3",
        "3.00 ± 1.00 (2 of 3 seeds)",
        "3.00",
        "4.00",
        "1.00 ± 0.00",
    ]
    for seed in (1, 2):
        shutil.rmtree(tmp_path / f"seed{seed}")
    assert "0 of 1 seed solved; the last validation of no seed is finite" in re.sub(r"<[^>]+>", "", page(tmp_path))


def test_measures_of_any_size_are_reported(tmp_path):
    for seed, last in ((1, 9e15), (2, 1e99)):
        run = write_answered(tmp_path / f"seed{seed}", "numbers", [3e38, last], seed=seed)
        measures = json.loads((run / "measures.json").read_text())
        measures["measures"][0] |= {"solved": 1e16, "near": 4e16}
        (run / "measures.json").write_text(json.dumps(measures))
        row = {"squared_error": last, "wrong_numbers": 1.0, "perfect": 0.5, "sequences": 10, "length": 10}
        RunFolder(run).keep_evaluation(200, [row], 2)
    html = write_report([tmp_path])[0].read_text()
    assert cells(html, "Cost at the end")[1][1:4] == ["5e+98 ± 5e+98", "5e+98", "1e+99"]
    assert cells(html, 'id="lengths"')[1][1:6] == ["10", "2", "5e+98 ± 5e+98", "5e+98", "1e+99"]
    assert cells(html, 'id="success"')[1][1] == "1 of 2"
    assert "inf" not in re.sub(r"<[^>]+>", "", html[: html.index("<script")]).split()


def test_the_tables_of_numbers(tmp_path):
    write_answered(tmp_path / "a", "numbers", [8.0, 0.005, 0.001])
    html = page(tmp_path)
    assert "1 of 1 seed solved, median 200 batches (4.0 s) to under 0.0064 squared error" in re.sub(
        r"<[^>]+>", "", html
    )
    assert cells(html, "Cost at the end")[0] == [
        "network", "squared error: mean ± std", "median", "worst", "wrong numbers: mean ± std", "median", "worst"
    ]  # fmt: skip
    assert "worst is the largest.</p>" in html


@pytest.mark.parametrize("kind", ANSWERED)
def test_the_page_has_a_button_and_figures_for_each_measure(tmp_path, kind):
    measures = ANSWERED[kind].measures
    write_answered(tmp_path / "a", kind, [8.0, 4.0])
    html = write_report([tmp_path])[0].read_text()
    buttons = re.findall(r'name="measure" id="measure-([a-z-]+)"( checked)?><label for="measure-\1">([^<]+)<', html)
    assert [(name.replace("-", "_"), bool(checked), label) for name, checked, label in buttons] == [
        (measure.name, place == 0, measure.label) for place, measure in enumerate(measures.ordered)
    ]
    assert set(re.findall(r'data-measure="(\w+)"', html)) == set(measures.names)
    for name in measures.names:
        hides = f"body:has(#measure-{name.replace('_', '-')}:checked) [data-measure]:not([data-measure={name}])"
        assert hides in html
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html)[1])
    assert data["words"] == {measure.name: measure.label for measure in measures.each}
    assert data["runs"][0]["validation"][measures.names[0]] == [8, 4]
    last = measures.each[-1].title
    assert f"{last[0].upper()}{last[1:]} is measured in validation alone." in html


def test_a_share_has_one_scale_which_is_shown_whatever_is_chosen(symbols):
    html = write_report([symbols])[0].read_text()
    shares = re.findall(r'<figure class="plot" [^>]*data-measure="accuracy"[^>]*>', html)
    assert len(shares) == 3  # validation, the seeds, lengths
    assert not [tags for tags in shares if "data-scale" in tags]
    names = {path.stem for path in (symbols / "figures").glob("*.svg")}
    assert "validation-accuracy" in names
    assert "validation-accuracy-log" not in names
    assert "validation-wrong-symbols-log" in names


def test_the_axis_of_a_share_is_from_0_to_1(symbols):
    shutil.rmtree(symbols / "seed1")
    experiment = read_experiment(symbols)
    figure = draw_curves(experiment, "validation", experiment.measures.named("accuracy"), "linear")
    low, high = figure.axes[0].get_ylim()
    assert -0.05 < low < 0 < 1 < high < 1.05
    drawn = {line.get_gid(): np.asarray(line.get_ydata()).tolist() for line in figure.axes[0].lines}
    assert drawn["run-0"] == pytest.approx([0.2, 0.6, 0.5])


def test_networks_with_the_larger_share_come_first_where_the_share_is_the_goal(tmp_path):
    share = Measure("accuracy", "accuracy", "share", "Share.", better="higher", solved=0.99, near=0.9)
    for hidden, values in ((10, [0.5, 0.7]), (20, [0.5, 0.95]), (30, [0.5, 0.6])):
        run = write_run(tmp_path / str(hidden), hidden=hidden)
        (run / "measures.json").write_text(json.dumps(Measures((share,), "all right").as_object()))
        rows = [{"step": 100 * place, "sequences": 1, "seconds": 1.0 * place, "validation_accuracy": value}
                for place, value in enumerate(values, start=1)]  # fmt: skip
        (run / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    experiment = read_experiment(tmp_path)
    assert [network.label[-2:] for network in experiment.networks] == ["20", "10", "30"]
    assert [run.best for run in experiment.runs] == [0.7, 0.95, 0.6]
    assert experiment.networks[0].runs[0].close == (200.0, 2.0)
    html = page(tmp_path)
    assert cells(html, 'id="success"')[0][3] == "batches to > 0.9: median"
    assert "to over 0.9 accuracy" in html


def test_measures_without_a_goal_are_reported(tmp_path):
    kind = Measure("loudness", "loudness", "loudness", "How loud.")
    run = write_run(tmp_path / "a")
    (run / "measures.json").write_text(json.dumps(Measures((kind,), "silent").as_object()))
    row = {"step": 100, "sequences": 1, "seconds": 1.0, "train_loudness": 3.0, "validation_loudness": 2.0}
    (run / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    (run / "result.json").write_text('{"step": 100}')
    html = write_report([tmp_path])[0].read_text()
    assert "<h1>NTM ends with a median of 2.00 loudness on Copy</h1>" in html
    assert "NTM: 1 seed; 2.00 loudness at the end" in re.sub(r"<[^>]+>", "", html)
    assert cells(html, 'id="success"')[0] == ["network", "parameters", "time per batch"]


def test_runs_of_different_measures_are_refused(tmp_path, capsys):
    write_run(tmp_path / "bits")
    write_answered(tmp_path / "symbols", "symbols", [1.0])
    assert main(["report", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        "ntm: error: the runs have different measures: wrong bits, solved at 0, bits per sequence (bits); "
        "wrong symbols, solved at 0, bits per sequence, accuracy (symbols); report them apart.\n"
    )


def test_an_optimum_does_not_make_different_measures_comparable(tmp_path):
    write_run(tmp_path / "bits", optimum=133.0)
    write_answered(tmp_path / "symbols", "symbols", [1.0])
    with pytest.raises(ValueError, match="the runs have different measures"):
        read_experiment(tmp_path)


def test_runs_with_another_goal_are_refused(tmp_path):
    for name, solved in (("a", 0.01), ("b", 0.02)):
        run = write_answered(tmp_path / name, "numbers", [1.0])
        told = ANSWERED["numbers"].measures.as_object()
        told["measures"][0]["solved"] = solved
        (run / "measures.json").write_text(json.dumps(told))
    with pytest.raises(ValueError, match=r"squared error, solved at 0\.01.*solved at 0\.02"):
        read_experiment(tmp_path)


@pytest.mark.parametrize(("optimum", "measures"), [(None, BITS), (133.0, UNCERTAIN_BITS)])
def test_older_runs_and_those_that_declare_the_same_are_reported_together(tmp_path, optimum, measures):
    write_run(tmp_path / "old", optimum=optimum)
    new = write_run(tmp_path / "new", seed=2, optimum=optimum)
    told = measures.as_object()
    told["measures"][0] |= {"description": "Another text of a later version.", "colour": "red"}
    (new / "measures.json").write_text(json.dumps(told))
    experiment = read_experiment(tmp_path)
    assert experiment.measures.names == measures.names
    assert len(experiment.networks) == 1
    assert not experiment.left_out


def test_a_run_that_declared_bits_and_has_not_validated_takes_the_measures_of_the_others(tmp_path):
    write_run(tmp_path / "a", optimum=133.0)
    begun = write_run(tmp_path / "begun", seed=2, costs=[], result=False)
    (begun / "measures.json").write_text(json.dumps(BITS.as_object()))
    experiment = read_experiment(tmp_path)
    assert experiment.measures == UNCERTAIN_BITS
    assert page(tmp_path)
    shutil.rmtree(tmp_path / "a")
    assert read_experiment(tmp_path).measures == BITS
