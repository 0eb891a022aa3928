"""What is shown while a network trains: a bar with a curve, few lines in a notebook, lines that fit."""

import io
from unittest.mock import Mock

import lightning as L
import pytest
import torch
from rich.console import Console

from lightning_ntm import LSTM
from lightning_ntm.measures import BITS
from lightning_ntm.tasks.answers import Symbols
from lightning_ntm.training import SequenceLearner, progress

SEEN = {"wrong_bits": 7.5, "bits_per_sequence": 41.78, "perfect": 0.87}

MODULE = Mock(spec=SequenceLearner, model=None)
#: A learner whose batches have three wrong bits each.
MEASURED = Mock(spec=SequenceLearner, measured=lambda outputs, batch: {"wrong_bits": torch.full((4,), 3.0)})


def trainer_at(step, total=1000, wrong=7.5):
    metrics = {f"validation_{name}": torch.tensor(value) for name, value in {**SEEN, "wrong_bits": wrong}.items()}
    known = {"global_step": step, "max_steps": total, "estimated_stepping_batches": total}
    return Mock(spec=L.Trainer, **known, callback_metrics=metrics, sanity_checking=False)


@pytest.fixture
def shown(monkeypatch):
    """A bar on a terminal of 60 columns with a long name, and what it wrote."""
    monkeypatch.delenv("JPY_PARENT_PID", raising=False)
    written = io.StringIO()

    def console(**options):
        return Console(file=written, width=60, force_terminal=True, color_system=None, **options)

    monkeypatch.setattr(progress, "Console", console)
    return progress.CostBar("a-run-with-a-long-name-" * 2, BITS), written


def test_a_curve_goes_from_zero_to_the_largest_value():
    assert progress.sparkline([0.0, 4.0, 8.0], 10) == "▁▅█"
    assert progress.sparkline([8.0, float("nan"), 0.0], 10) == "█ ▁"
    assert progress.sparkline(list(range(101)), 3) == "▁▅█"
    assert progress.sparkline([0.0, 0.0], 5) == "▁▁"
    assert progress.sparkline([float("inf"), 1.0], 5) == " █"


def test_a_terminal_shows_a_bar_and_the_curve_of_validations(shown):
    bar, _ = shown
    bar.on_train_start(trainer_at(0), MODULE)
    try:
        for step, wrong in ((100, 8.0), (200, 4.0), (300, 0.0)):
            bar.on_validation_end(trainer_at(step, wrong=wrong), MODULE)
        assert bar.bar.curve == "wrong bits in validation █▅▁"
        lines = bar.console.render_lines(bar.bar.get_renderable(), pad=False)
        assert len(lines) == 2, "the bar is in one line, whatever the name of the run"
    finally:
        bar.on_train_end(trainer_at(300), MODULE)


def test_a_line_fits_into_sixty_columns(shown):
    assert (
        progress.validation_line(trainer_at(250), BITS, 60) == "step     250      7.50 wrong bits   87% without error"
    )
    assert "41.78 bits per sequence" in progress.validation_line(trainer_at(250), BITS)


@pytest.mark.parametrize("where", ["below a notebook", "in a file"])
def test_elsewhere_there_are_about_twenty_lines_and_no_bar(where, shown, monkeypatch):
    bar, written = shown
    if where == "in a file":
        monkeypatch.setattr(progress, "Console", lambda **options: Console(file=written, width=60, **options))
    else:
        monkeypatch.setenv("JPY_PARENT_PID", "1")
    bar.on_train_start(trainer_at(0, total=10_000), MODULE)
    assert bar.bar is None
    for step in range(50, 10_001, 50):
        bar.on_validation_end(trainer_at(step, total=10_000), MODULE)
    lines = written.getvalue().splitlines()[1:]
    assert 18 <= len(lines) <= 22
    assert lines[-1].startswith("step   10000 ")


@pytest.fixture
def displayed(monkeypatch):
    """What a notebook shows: what was displayed, and each change of it."""
    pytest.importorskip("IPython", reason="IPython is not installed")
    import IPython
    import IPython.display

    shown = []

    def display(value, display_id):
        assert display_id
        shown.append(value._repr_html_())
        return Mock(update=lambda value: shown.append(value._repr_html_()))

    monkeypatch.setattr(IPython, "get_ipython", lambda: Mock(kernel=1))
    monkeypatch.setattr(IPython.display, "display", display)
    return shown


def test_a_notebook_has_one_bar_that_ends_with_what_was_measured(displayed, monkeypatch, capsys):
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    bar = progress.CostBar("<run>", BITS)
    bar.on_train_start(trainer_at(0), MODULE)
    for step in range(1, 301):
        bar.on_train_batch_end(trainer_at(step), MEASURED, {}, None, 0)
    before = len(displayed)
    for step, wrong in ((200, 8.0), (300, 4.0)):
        bar.on_validation_end(trainer_at(step, wrong=wrong), MODULE)
    bar.on_train_end(trainer_at(300), MODULE)
    assert before < 100, "not at each step"
    assert displayed[0].startswith('<div><progress value="0" max="1000" ')
    assert displayed[0].endswith("</progress> &lt;run&gt;: 0 of 1,000 steps</div>")
    assert 'value="300"' in displayed[-1]
    assert "300 of 1,000 steps, 3.00 wrong bits in training</div>" in displayed[-1]
    assert "<pre>wrong bits in validation █▅</pre>" in displayed[-1]
    assert "4.00 wrong bits" in displayed[-1].rpartition("<pre>")[2]
    assert capsys.readouterr().out == ""


def test_a_bar_of_a_user_s_own_trainer_takes_network_and_measures_of_the_learner(shown):
    bar, written = progress.CostBar(), shown[1]
    learner = SequenceLearner(LSTM(4, 3, hidden_size=4), answer=Symbols(3))
    trainer = trainer_at(0, total=float("inf"))
    trainer.callback_metrics["validation_wrong_symbols"] = torch.tensor(1.0)
    bar.on_train_start(trainer, learner)
    bar.on_validation_end(trainer, learner)
    bar.on_train_end(trainer, learner)
    assert bar.measures == Symbols(3).measures
    assert "LSTM: means over sequences in validation" in written.getvalue()


def test_a_training_without_a_validation_has_no_heading(monkeypatch, shown):
    bar, written = shown
    monkeypatch.setattr(progress, "Console", lambda **options: Console(file=written, width=60, **options))
    for steps in ((), (100, 1000)):
        bar.on_train_start(trainer_at(0), MODULE)
        for step in steps:
            bar.on_validation_end(trainer_at(step), MODULE)
        bar.on_train_end(trainer_at(1000), MODULE)
    lines = written.getvalue().splitlines()
    assert [line.endswith("means over sequences in validation") for line in lines] == [True, False, False]


def test_another_module_is_refused_in_a_line():
    with pytest.raises(ValueError, match="SequenceLearner, not of a Linear"):
        progress.CostBar().on_train_start(trainer_at(0), type("Linear", (L.LightningModule,), {})())
