"""What is shown while a network trains: a bar with a curve, few lines in a notebook, lines that fit."""

import io
from unittest.mock import Mock

import lightning as L
import pytest
import torch
from rich.console import Console

from lightning_ntm.measures import BITS
from lightning_ntm.training import progress

SEEN = {"wrong_bits": 7.5, "bits_per_sequence": 41.78, "perfect": 0.87}

MODULE = Mock(spec=L.LightningModule)


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
    return progress.CostBar("a-run-with-a-long-name-" * 2), written


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


def test_a_notebook_shows_about_twenty_lines_and_no_bar(shown, monkeypatch):
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    bar, written = shown
    bar.on_train_start(trainer_at(0, total=10_000), MODULE)
    assert bar.bar is None
    for step in range(50, 10_001, 50):
        bar.on_validation_end(trainer_at(step, total=10_000), MODULE)
    lines = written.getvalue().splitlines()[1:]
    assert 18 <= len(lines) <= 22
    assert lines[-1].startswith("step   10000 ")
