"""Scores over a range of lengths: the table of tasks by networks, and the figure by length."""

import re
from pathlib import Path

import matplotlib.colors
import numpy as np
import pytest
from runs import ANSWERED, write_answered, write_run

from lightning_ntm.cli import main
from lightning_ntm.records import RunFolder
from lightning_ntm.report import write_report
from lightning_ntm.report.experiment import read_experiments
from lightning_ntm.report.published import NETWORKS, SCORES
from lightning_ntm.report.range_figures import draw_range
from lightning_ntm.report.score_tables import score_notes, score_table
from lightning_ntm.report.scores import chosen_range, scores_of
from lightning_ntm.report.style import LINE


def evaluated(folder, shares, *, first=41, name="41-42", trained=40, slots=None, step=300, sequences=100):
    """Keep an evaluation over a range with these shares of right symbols, ten symbols an answer."""
    asked = {} if slots is None else {"memory_slots": slots}
    names = ANSWERED["symbols"].measures.names
    rows = [
        {**asked, "length": length, **dict(zip(names, (10 * (1 - share), 2.0, share), strict=True)),
         "perfect": 0.0, "sequences": sequences}
        for length, share in enumerate(shares, start=first)
    ]  # fmt: skip
    unseen = [row for row in rows if row["length"] > trained]
    means = {f"mean_{one}": float(np.mean([row[one] for row in unseen])) for one in names}
    about = {"range": name, "training_length": trained, "skipped": 0, "sequences": sequences}
    RunFolder(folder).keep_evaluation(step, [], 2, [{**asked, **about, **means, "results": rows}])


def symbols(folder, seed, task="ReverseString", model="LSTM", **more):
    return write_answered(folder, "symbols", (3.0, 2.0, 1.0), seed=seed, task=task, model=model, **more)


@pytest.fixture
def seeds(tmp_path):
    """Four seeds of an LSTM whose scores are 1, 0.9, 0.5 and 0.4."""
    for seed, shares in enumerate(((1.0, 1.0), (0.9, 0.9), (0.4, 0.6), (0.5, 0.3)), start=1):
        evaluated(symbols(tmp_path / f"lstm-{seed}", seed), shares)
    return tmp_path


def cells(html):
    """Return the rows of a table, each as texts by cell."""
    rows = re.findall(r"<tr ?>(.*?)</tr>", html)
    return [[re.sub(r"<[^>]+>", " ", cell).split() for cell in re.findall(r"<t[hd].*?</t[hd]>", row)] for row in rows]


def table_of(folder):
    experiments = read_experiments(folder)
    return cells(score_table(scores_of(experiments, chosen_range(experiments))))


def test_best_median_mean_worst_and_seeds_of_at_least_90_percent_are_those_worked_out_by_hand(seeds):
    head, row = table_of(seeds)
    assert head[:2] == [["task"], ["LSTM"]]
    assert row[0] == ["ReverseString"]
    assert " ".join(row[1]) == ("100.0 median 70.0 mean 70.0 worst 40.0 2 of 4 &ge; 90 % (15 to 85 %) published 60.9")


def test_published_scores_of_networks_without_runs_have_columns_of_their_own(seeds):
    head, row = table_of(seeds)
    assert [" ".join(cell) for cell in head[2:]] == [
        "RNN published", "Stack-RNN published", "Tape-RNN published", "Transformer published"
    ]  # fmt: skip
    assert row[2:] == [["62.0"], ["100.0"], ["100.0"], ["62.3"]]


def test_tasks_are_rows_in_the_order_of_the_paper_and_a_network_without_runs_of_one_has_a_dash(seeds):
    evaluated(symbols(seeds / "other", 1, task="EvenPairs", model="NTM"), (0.5, 0.5), slots=99)
    head, first, second = table_of(seeds)
    assert head[1:3] == [["LSTM"], ["NTM,", "99", "memory", "slots"]]
    assert first[:2] == [["EvenPairs"], ["&ndash;"]]
    assert first[2][0] == "50.0"
    assert second[0] == ["ReverseString"]
    assert second[2] == ["&ndash;"]


def test_a_score_that_could_not_be_checked_is_a_dash(tmp_path):
    evaluated(symbols(tmp_path / "a", 1, task="EvenPairs"), (0.5, 0.5))
    _, row = table_of(tmp_path)
    assert row[1][-2:] == ["published", "100.0"]
    assert row[-1] == ["&ndash;"], "of the Transformer"


def test_published_scores_are_shares_of_known_tasks_in_percent():
    import lightning_ntm.tasks as tasks

    assert len(SCORES) == 15
    for task, scores in SCORES.items():
        assert hasattr(tasks, task)
        assert scores.keys() <= NETWORKS.keys()
        assert all(20 < score <= 100 for score in scores.values())


def test_tasks_with_other_measures_are_judged_by_their_first_one(tmp_path):
    for seed, wrong in ((1, 0.25), (2, 0.75)):
        path = write_run(tmp_path / f"seed{seed}", task="Copy", seed=seed)
        rows = [{"length": 21, "wrong_bits": wrong, "bits_per_sequence": 1.0, "perfect": 0.0, "sequences": 9}]
        one = {"range": "21-21", "training_length": 20, "skipped": 0, "sequences": 9, "mean_wrong_bits": wrong}
        RunFolder(path).keep_evaluation(300, [], 2, [{**one, "results": rows}])
    head, row = table_of(tmp_path)
    assert len(head) == 2, "nothing is published"
    assert " ".join(row[1]) == "0.25 median 0.50 mean 0.50 worst 0.75 0 of 2 &le; 0 wrong bits (0 to 66 %)"


def test_of_one_seed_the_score_stands_alone(tmp_path):
    evaluated(symbols(tmp_path / "a", 1, task="EvenPairs"), (0.5, 0.5))
    _, row = table_of(tmp_path)
    assert " ".join(row[1]) == "50.0 one seed published 100.0"
    [task] = scores_of(read_experiments(tmp_path), "41-42")
    assert "Below" not in " ".join(score_notes([task], "41-42"))
    [legend] = draw_range(task.scores, task.measure).legends
    assert [text.get_text() for text in legend.get_texts()] == ["LSTM", "lengths of training"]


def test_a_legend_is_as_wide_as_its_figure_at_most(tmp_path):
    for seed in (1, 2):
        evaluated(symbols(tmp_path / str(seed), seed, model="mine.ANetworkWithQuiteALongName"), (0.5, 0.5), slots=1024)
    [task] = scores_of(read_experiments(tmp_path), "41-42")
    figure = draw_range(task.scores, task.measure)
    [legend] = figure.legends
    assert len(legend.get_texts()) == 3
    assert legend.get_window_extent().width <= figure.bbox.width


def test_the_range_that_most_runs_have_is_compared(seeds):
    evaluated(seeds / "lstm-1", [0.1] * 9, name="41-49")
    assert chosen_range(read_experiments(seeds)) == "41-42"
    for seed in (2, 3, 4):
        evaluated(seeds / f"lstm-{seed}", [0.1] * 9, name="41-49")
    assert chosen_range(read_experiments(seeds)) == "41-49", "of as many runs the one with more lengths"


def test_notes_tell_what_keeps_scores_from_being_compared(seeds):
    def notes():
        experiments = read_experiments(seeds)
        return " ".join(score_notes(scores_of(experiments, chosen_range(experiments)), "41-42"))

    assert "These scores are over 41-42, the published ones over every length of 41-500." in notes()
    assert "Not all networks were trained on lengths up to 40" not in notes()
    evaluated(seeds / "lstm-1", (1.0, 1.0), trained=20)
    assert "Not all networks were trained on lengths up to 40" in notes()


def test_the_figure_shows_the_median_the_seeds_between_and_shades_training(seeds):
    experiments = read_experiments(seeds)
    [task] = scores_of(experiments, "41-42")
    [axis] = draw_range(task.scores, task.measure).axes
    [median] = axis.lines
    assert median.get_xdata().tolist() == [41, 42]
    assert median.get_ydata() == pytest.approx([0.7, 0.75])
    band = axis.collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == (0.3, 1.0)
    shaded = [patch for patch in axis.patches if patch.get_facecolor() == matplotlib.colors.to_rgba(LINE)]
    assert [(patch.get_x(), patch.get_width()) for patch in shaded] == [(0, 40.5)]


def test_of_many_networks_the_best_seed_is_a_line(tmp_path):
    for model in ("A", "B", "C", "D"):
        for seed, share in ((1, 0.25), (2, 0.75)):
            evaluated(symbols(tmp_path / f"{model}{seed}", seed, model=f"mine.{model}"), (share, share))
    [task] = scores_of(read_experiments(tmp_path), "41-42")
    [axis] = draw_range(task.scores, task.measure).axes
    assert not axis.collections
    assert sorted(line.get_ydata()[0] for line in axis.lines) == [0.5] * 4 + [0.75] * 4


def test_runs_of_several_tasks_become_one_page(seeds, capsys):
    evaluated(symbols(seeds / "even", 1, task="EvenPairs"), (0.5, 0.5))
    symbols(seeds / "odd", 1, task="OddsFirst", result=False)
    assert main(["report", str(seeds)]) == 0
    page = (seeds / "report.html").read_text(encoding="utf-8")
    assert "<h1>1 network on 3 tasks</h1>" in page
    assert "1 run without this evaluation" in page
    assert "stands at step 300" in page
    assert page.count('<figure class="still">') == 2
    figures = {file.name for file in Path(seeds, "figures").iterdir()}
    assert figures == {f"range-{task}.{kind}" for task in ("evenpairs", "reversestring") for kind in ("png", "svg")}


def test_one_of_several_tasks_has_a_page_of_its_own(seeds, capsys):
    evaluated(symbols(seeds / "even", 1, task="EvenPairs"), (0.5, 0.5))
    assert main(["report", str(seeds), "--task", "reversestring"]) == 0
    page = (seeds / "report-ReverseString" / "report.html").read_text(encoding="utf-8")
    assert re.search("<title>.*ReverseString.*</title>", page)
    assert "Every length of 41-42" in page
    assert "Nothing was evaluated yet" not in page
    assert page.count('<figure class="still" data-measure=') == 5, "two measures with two scales, one with one"
    assert not (seeds / "report.html").exists()
    capsys.readouterr()
    assert main(["report", str(seeds), "--task", "Copy"]) == 2
    assert capsys.readouterr().err == (
        "ntm: error: task (='Copy') has no runs; there are runs of EvenPairs, ReverseString.\n"
    )


def test_texts_of_a_damaged_or_hostile_evaluation_have_no_effect_on_the_page(seeds, capsys):
    name, path = "<script>alert(1)</script>", seeds / "lstm-1"
    for seed in (1, 2, 3, 4):
        evaluated(seeds / f"lstm-{seed}", [0.5] * 3, name=name, trained=41)
    record = RunFolder(path).results().ranges[-1]
    for key in [key for key in record if key.startswith("mean_")]:
        del record[key]
    record["results"][0] = {**record["results"][0], ANSWERED["symbols"].measures.names[2]: None}
    RunFolder(path).keep_evaluation(300, [], 2, [record])
    evaluated(symbols(seeds / "even", 1, task="EvenPairs"), (0.5, 0.5), name=name)
    assert main(["report", str(seeds)]) == 0
    page = (seeds / "report.html").read_text(encoding="utf-8")
    assert "alert(1)" in page
    assert "<script>alert" not in page


def test_networks_that_were_not_evaluated_are_named(seeds):
    for seed in (1, 2):
        symbols(seeds / f"other-{seed}", seed, task="EvenPairs", model="NTM")
    (page, *_) = write_report([seeds])
    told = "2 runs without this evaluation: NTM on EvenPairs (2)</p>"
    assert told in page.read_text()


def test_a_page_of_one_task_names_them_too(seeds):
    told = "without this evaluation"
    assert told not in write_report([seeds])[0].read_text()
    symbols(seeds / "other", 1, model="NTM")
    page = write_report([seeds])[0].read_text()
    section = page[page.index("Every length of 41-42") : page.index('<section id="success">')]
    assert f"1 run {told}: NTM (1)</p>" in section


def test_scores_are_not_called_solved_where_that_is_said_of_trainings(seeds):
    experiments = read_experiments(seeds)
    note = score_notes(scores_of(experiments, "41-42"), "41-42")[0]
    assert "how many seeds have a score &ge; 90 %, with the 95 % interval" in note
    page = write_report([seeds])[0].read_text()
    section = page[page.index("Every length of 41-42") : page.index('<section id="success">')]
    assert re.findall(r"[^.]*solved[^.]*\.", section) == [" (2023) call a task solved from 90 % on."]


def test_a_page_of_several_tasks_names_a_seed_that_was_trained_twice(tmp_path):
    for name, task in (("a", "ReverseString"), ("b", "OddsFirst"), ("twice", "OddsFirst")):
        evaluated(symbols(tmp_path / name, 1, task), (1.0, 1.0))
    page = write_report([tmp_path])[0].read_text()
    [_, left_out] = cells(page[page.index('id="not-finished"') :].partition("</section>")[0])
    assert [left_out[0], left_out[1]] == [["twice"], ["repeated"]]
