"""Numbers of any length on the command line: one line, and no traceback."""

import pytest

from lightning_ntm.cli import main

MANY = "9" * 5000


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sweep", "ten-seeds-smoke", "--shard", f"{MANY}/{MANY}"], "must be I/N with I from 1 to N."),
        (["sweep", "ten-seeds-smoke", "--shard", "0/2"], "--shard (=0/2) must be I/N with I from 1 to N."),
        (["sweep", "--processes", MANY], "must be a whole number of at least 1."),
        (["sweep", "--retries", "-1"], "must be a whole number of at least 0."),
        (["bench", "--repeats", MANY], "must be a whole number of at least 1."),
        (["bench", "--repeats", "0"], "'0' must be a whole number of at least 1."),
    ],
)
def test_a_number_out_of_range_is_one_line(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error or error.endswith(" ...\n")
    assert "invalid" not in error
