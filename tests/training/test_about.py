"""The commit a training notes, asked of repositories that may come from anybody."""

import subprocess

import pytest

from lightning_ntm.training.about import _commit

PROGRAMS = {
    "fsmonitor": ("config", "core.fsmonitor", "touch {ran}; false"),
    "filter": ("config", "filter.evil.clean", "touch {ran}; cat"),
    "diff": ("config", "diff.external", "touch {ran}"),
    "textconv": ("config", "diff.evil.textconv", "touch {ran}; cat"),
}


def git(folder, *words):
    said = subprocess.run(
        ["git", "-C", folder, "-c", "user.name=a", "-c", "user.email=b", *words], capture_output=True, text=True
    )
    assert said.returncode == 0, said.stderr
    return said.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "file").write_text("one")
    (folder / ".gitattributes").write_text("file filter=evil diff=evil\n")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    return folder


def test_a_commit_is_noted_with_whether_it_was_changed(repository, tmp_path):
    commit = git(repository, "rev-parse", "HEAD")
    assert _commit(repository) == commit
    (repository / "untracked").touch()
    (repository / "file").touch()
    assert _commit(repository) == commit
    (repository / "file").write_text("two")
    assert _commit(repository) == f"{commit}-dirty"
    assert _commit(tmp_path) is None


@pytest.mark.parametrize("kind", PROGRAMS)
def test_no_program_of_a_repository_is_run(repository, tmp_path, kind):
    ran, commit = tmp_path / "ran", git(repository, "rev-parse", "HEAD")
    git(repository, *(word.format(ran=ran) for word in PROGRAMS[kind]))
    (repository / "file").write_text("two")
    told = _commit(repository)
    assert not ran.exists()
    assert told == commit + ("-unchecked" if kind == "filter" else "-dirty")
