"""The data frame against the files it comes from."""

import json
import warnings

import numpy as np
import pytest
from runs import ANSWERED, write_answered, write_run

import lightning_ntm
from lightning_ntm.records import RunFolder, SkippedRunWarning, load
from lightning_ntm.report.experiment import read_experiment
from lightning_ntm.sweep import Plan

COLUMNS = [
    "run",
    "network",
    "model",
    "task",
    "seed",
    "split",
    "step",
    "sequences",
    "seconds",
    "wrong_bits",
    "bits_per_sequence",
]


def test_one_row_for_each_measurement(tmp_path):
    write_run(tmp_path / "deep" / "ntm-copy-seed10", seed=10, costs=[4.0, 0.5])
    write_run(tmp_path / "deep" / "ntm-copy-seed2", seed=2, costs=[3.0])
    write_run(tmp_path / "lstm", model="LSTM", task="RepeatCopy", costs=[1.0])
    frame = lightning_ntm.records.load(tmp_path)
    assert list(frame.columns) == COLUMNS
    assert frame.to_numpy().tolist() == [
        ["deep/ntm-copy-seed2", "NTM", "NTM", "Copy", 2, "train", 100, 800, 2.0, 6.0, 18.0],
        ["deep/ntm-copy-seed2", "NTM", "NTM", "Copy", 2, "validation", 100, 800, 2.0, 3.0, 9.0],
        ["deep/ntm-copy-seed10", "NTM", "NTM", "Copy", 10, "train", 100, 800, 2.0, 8.0, 24.0],
        ["deep/ntm-copy-seed10", "NTM", "NTM", "Copy", 10, "train", 200, 1600, 4.0, 1.0, 3.0],
        ["deep/ntm-copy-seed10", "NTM", "NTM", "Copy", 10, "validation", 100, 800, 2.0, 4.0, 12.0],
        ["deep/ntm-copy-seed10", "NTM", "NTM", "Copy", 10, "validation", 200, 1600, 4.0, 0.5, 1.5],
        ["lstm", "LSTM", "LSTM", "RepeatCopy", 1, "train", 100, 800, 2.0, 2.0, 6.0],
        ["lstm", "LSTM", "LSTM", "RepeatCopy", 1, "validation", 100, 800, 2.0, 1.0, 3.0],
    ]
    kinds = {name: frame[name].dtype.kind for name in COLUMNS[4:]}
    assert "".join(kinds[name] for name in COLUMNS[6:]) == "iifff"
    assert kinds["seed"] == "i"
    assert frame.attrs["skipped"] == {}


def test_a_run_folder_may_be_given_and_a_run_met_twice_counts_once(tmp_path):
    run = write_run(tmp_path / "runs" / "a")
    (tmp_path / "runs" / "again").symlink_to(run)
    (run / "figures").mkdir()
    (tmp_path / "runs" / "circle").symlink_to(tmp_path / "runs")
    assert set(load(run).run) == {"a"}
    assert len(load(run, tmp_path, tmp_path / "runs")) == len(load(run))


def test_runs_of_the_same_name_keep_apart(tmp_path):
    for sweep in ("one", "two"):
        write_run(tmp_path / sweep / "seed1")
    folders = [tmp_path / "one", tmp_path / "two"]
    assert set(load(*folders).run) == {(folder / "seed1").as_posix() for folder in folders}


def test_numbers_that_were_not_finite_are_nan(tmp_path):
    frame = load(write_run(tmp_path / "a", costs=[1.0, None]))
    assert frame.wrong_bits.isna().tolist() == [False, True, False, True]


def test_the_regret_is_that_of_validations(tmp_path):
    frame = load(write_run(tmp_path / "a", task="DynamicNGrams", costs=[50.0, None, 45.5], optimum=133.0))
    assert frame[frame.split == "train"].regret_bits.isna().all()
    assert frame[frame.split == "validation"].regret_bits.fillna(-1).tolist() == [17.0, -1.0, 3.5]


@pytest.mark.parametrize("kind", ANSWERED)
def test_the_columns_are_the_measures_that_runs_declare(tmp_path, kind):
    measures = ANSWERED[kind].measures
    frame = load(write_answered(tmp_path / "a", kind, [8.0, 4.0]))
    assert list(frame.columns)[9:] == list(measures.names)
    assert frame[frame.split == "validation"][measures.names[0]].tolist() == [8.0, 4.0]
    lacking = frame[frame.split == "train"][measures.names[-1]]
    assert lacking.isna().all(), "it is not measured in training"


def test_runs_of_different_measures_stand_in_one_frame(tmp_path):
    write_run(tmp_path / "bits", costs=[1.0])
    write_answered(tmp_path / "symbols", "symbols", [8.0])
    frame = load(tmp_path).set_index(["run", "split"])
    assert list(frame.columns)[7:] == ["wrong_bits", "bits_per_sequence", "wrong_symbols", "accuracy"]
    assert np.isnan(frame.wrong_bits["symbols", "validation"])
    assert np.isnan(frame.accuracy["bits", "validation"])
    assert frame.wrong_symbols["symbols", "validation"] == 8


def test_a_line_cut_short_by_a_crash_is_not_read_and_rows_of_other_loggers_are_none_of_ours(tmp_path):
    run = write_run(tmp_path / "a", costs=[1.0])
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 150, "temperature": 3}\n{"step": 200, "validation_wro')
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load(run).step.tolist() == [100, 100]


def damage(run, kind):
    metrics = run / "metrics.jsonl"
    if kind == "no config":
        (run / "config.yaml").unlink()
    elif kind == "half a config":
        (run / "config.yaml").write_text("name: a\nmodel:\n  class_path: lightning_ntm.NTM\n  init_ar")
    elif kind == "not a config":
        (run / "config.yaml").write_bytes(b"\x00\xff: [")
    elif kind == "damaged line":
        metrics.write_text("rubbish\n" + metrics.read_text())
    elif kind == "not a row":
        metrics.write_text("3\n" + metrics.read_text())
    elif kind == "two in a line":
        metrics.write_text('{"step": 1},{"step": 2}\n' + metrics.read_text())
    elif kind == "no number":
        row = json.loads(metrics.read_text().splitlines()[0])
        metrics.write_text(json.dumps({**row, "seconds": "soon"}) + "\n")
    elif kind == "no seconds":
        metrics.write_text('{"step": 1, "sequences": 2, "train_wrong_bits": 1, "train_bits_per_sequence": 2}\n')
    elif kind == "nothing measured":
        metrics.unlink()


@pytest.mark.parametrize(
    ("kind", "reason"),
    {
        "no config": "it has no config.yaml",
        "half a config": "config.yaml is damaged: it does not name a model, a task and a seed",
        "not a config": "",
        "damaged line": "line 1, is damaged",
        "not a row": "line 1, is damaged",
        "two in a line": "line 1, is damaged",
        "no number": "metrics.jsonl is damaged",
        "no seconds": "a measurement lacks 'seconds'",
        "nothing measured": "it has not measured anything yet",
    }.items(),
)
def test_what_cannot_be_read_is_left_out_and_told(tmp_path, kind, reason):
    write_run(tmp_path / "good")
    bad = write_run(tmp_path / "bad")
    damage(bad, kind)
    with pytest.warns(SkippedRunWarning, match=r"bad is left out: .*" + reason):
        frame = load(tmp_path)
    assert set(frame.run) == {"good"}
    assert list(frame.attrs["skipped"]) == [bad.as_posix()]
    assert reason in frame.attrs["skipped"][bad.as_posix()]


def test_folders_without_runs_are_mistakes(tmp_path):
    with pytest.raises(ValueError, match="nowhere does not exist"):
        load(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="is a file, not a run folder"):
        load(__file__)
    (tmp_path / "config.yaml").write_text("a: 1")  # a name that others use too
    with pytest.raises(ValueError, match="is not a run folder and has none in it"):
        load(tmp_path)


def test_evaluations_of_the_same_weights_are_kept_together(tmp_path):
    folder = RunFolder(write_run(tmp_path / "a"))
    measured = {"wrong_bits": 1.0, "bits_per_sequence": 2.0, "perfect": 0.5, "sequences": 10}
    kept = lambda: [row["length"] for row in json.loads(folder.evaluation.read_text())["results"]]  # noqa: E731
    folder.keep_evaluation(300, [{"length": 10, **measured}], 2)
    folder.keep_evaluation(300, [{"length": 20, **measured}, {"length": 10, **measured}], 2)
    assert kept() == [20, 10]
    folder.keep_evaluation(400, [{"length": 5, **measured}], 2)
    assert kept() == [5]
    folder.keep_evaluation(400, [{"length": 6, **measured}], 3)
    assert kept() == [6], "episodes of another version"
    folder.evaluation.write_text(json.dumps({"step": 400, "results": [{"length": 7, **measured}]}))
    folder.keep_evaluation(400, [{"length": 5, **measured}], 2)
    assert kept() == [5], "the first version was not written down"
    folder.evaluation.write_text("rubbish")
    folder.keep_evaluation(400, [{"length": 5, **measured}], 2)
    assert kept() == [5]


def test_the_frame_feeds_the_usual_questions(tmp_path):
    for seed in range(3):
        write_run(tmp_path / f"seed{seed}", seed=seed, costs=[4.0, float(seed)])
    frame = load(tmp_path)
    last = frame[frame.split == "validation"].groupby("run").wrong_bits.last()
    assert np.allclose(last, [0, 1, 2])


def test_there_is_a_column_for_each_option_in_which_runs_differ(tmp_path):
    for seed in (1, 2):
        for hidden in (50, 100):
            write_run(tmp_path / f"{hidden}-{seed}", seed=seed, hidden=hidden, costs=[float(hidden)])
    frame = load(tmp_path)
    assert list(frame.columns)[4:7] == ["seed", "model.hidden_size", "split"]
    means = frame[frame.split == "validation"].groupby("network").wrong_bits.agg(["mean", "count"])
    assert means.to_dict("index") == {
        "NTM, hidden size 50": {"mean": 50, "count": 2}, "NTM, hidden size 100": {"mean": 100, "count": 2}
    }  # fmt: skip
    write_run(tmp_path / "lstm", model="LSTM")
    assert set(load(tmp_path).network) == {"NTM, hidden size 50", "NTM, hidden size 100", "LSTM"}


def test_names_in_the_plan_are_the_names_of_networks(tmp_path):
    keys = {"models": [{"small": {"model.hidden_size": 50}}, {"large": {"model.hidden_size": 100}}], "seeds": "1-2"}
    plan = Plan.of(keys)
    plan.save(tmp_path)
    for run in plan.runs:
        write_run(tmp_path / run.name, seed=int(run.name[-1]), hidden=50 if "small" in run.name else 100)
    assert Plan.load(tmp_path) == plan
    assert set(load(tmp_path).network) == {"small", "large"}
    assert [network.label for network in read_experiment(tmp_path).networks] == ["large", "small"]
    extended = Plan.of({**keys, "models": [{"middle": {"model.hidden_size": 70}}]})
    extended.save(tmp_path)
    assert set(Plan.load(tmp_path).networks.values()) == {"small", "large", "middle"}
    write_run(tmp_path / "middle-copy-seed1", hidden=70)
    assert set(load(tmp_path).network) == {"small", "large", "middle"}
    (tmp_path / "plan.yaml").write_text("networks: [1]")
    assert "NTM, hidden size 70" in set(load(tmp_path).network)


def test_evaluations_are_rows_too(tmp_path):
    measured = {"wrong_bits": 1.0, "bits_per_sequence": 2.0, "perfect": 0.5, "sequences": 10}
    for seed in (1, 2):
        folder = RunFolder(write_run(tmp_path / f"s{seed}", seed=seed))
        ranged = {"range": "41-42", "training_length": 40, "skipped": 0, "sequences": 10}
        ranged["results"] = [{"length": length, **measured} for length in (41, 42)]
        folder.keep_evaluation(300, [{"length": 10 * seed, **measured}], 2, [ranged])
    write_run(tmp_path / "never")
    with pytest.warns(SkippedRunWarning, match="never is left out: it was not evaluated"):
        frame = load(tmp_path, what="evaluations")
    assert frame.run.tolist() == ["s1"] * 3 + ["s2"] * 3
    assert frame.length.tolist() == [10, 41, 42, 20, 41, 42]
    assert frame.range.fillna("").tolist() == ["", "41-42", "41-42"] * 2
    assert frame.groupby(["network", "length"]).wrong_bits.mean().to_dict()["NTM", 41] == 1
    assert set(frame.step) == {300}
    with pytest.raises(ValueError, match=r"what \(='figures'\) must be one of measurements, evaluations."):
        load(tmp_path, what="figures")
