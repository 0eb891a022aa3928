"""Networks on the Hugging Face hub, without the hub."""

import os
import shutil
from pathlib import Path

import pytest
import torch

from lightning_ntm import NTM, Copy, MemoryModel
from lightning_ntm.cli import main
from lightning_ntm.exchange import hub as our_hub

hub = pytest.importorskip("huggingface_hub")
SIZES = {"hidden_size": 5, "memory_slots": 6, "memory_width": 4}


class Hub:
    """A hub in a folder; it keeps what it was asked for."""

    def __init__(self, folder, error=None):
        self.folder, self.error, self.made, self.token = Path(folder), error, {}, None

    def __call__(self, token=None):
        self.token = token
        return self

    def create_repo(self, name, *, private, exist_ok):
        if self.error:
            raise self.error
        assert exist_ok
        self.made[name] = private
        return f"https://hub/{name}"

    def upload_folder(self, *, repo_id, folder_path, allow_patterns, commit_message):
        assert commit_message
        (self.folder / repo_id).mkdir(parents=True, exist_ok=True)
        for name in allow_patterns:
            shutil.copy(Path(folder_path, name), self.folder / repo_id / name)

    def snapshot_download(self, name, *, allow_patterns):
        if self.error:
            raise self.error
        assert allow_patterns == ["config.json", "model.safetensors"]
        return str(self.folder / name)


@pytest.fixture
def fake(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = Hub(tmp_path / "hub")
    monkeypatch.setattr(hub, "HfApi", made)
    monkeypatch.setattr(hub, "snapshot_download", made.snapshot_download)
    return made


def test_a_network_goes_to_the_hub_and_comes_back(fake):
    network = NTM(9, 8, **SIZES).eval()
    assert network.push_to_hub("me/copy", task=Copy(), private=True, token="secret") == "https://hub/me/copy"
    assert (fake.made, fake.token) == ({"me/copy": True}, "secret")
    assert sorted(os.listdir(fake.folder / "me/copy")) == ["README.md", "config.json", "model.safetensors"]
    x = torch.ones(1, 4, 9)
    for kind in (NTM, MemoryModel):
        assert torch.equal(kind.from_pretrained("me/copy")(x)[0], network(x)[0])


def test_the_card_says_what_the_network_is_and_its_code_runs(fake):
    NTM(9, 8, **SIZES).push_to_hub("me/copy", task=Copy())
    card = (fake.folder / "me/copy/README.md").read_text()
    head, body = card.removeprefix("---\n").split("---\n", 1)
    assert "library_name: lightning-ntm\n" in head
    assert "# NTM on Copy" in body
    assert "9 inputs and 8\nlogits" in body
    names = {}
    exec(body.split("```python\n")[1].split("```")[0].replace("owner/name", "me/copy"), names)
    assert names["logits"].shape == (1, 20, 8)


def test_a_card_of_ones_own_stays(tmp_path):
    (tmp_path / "README.md").write_text("mine")
    NTM(9, 8, **SIZES).save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"


def test_a_run_goes_to_the_hub(fake, capsys):
    assert main(["export", "copy", "--format", "safetensors", "--push_to_hub", "me/zoo", "--output", "out"]) == 0
    assert capsys.readouterr().out.endswith("https://hub/me/zoo\n")
    assert torch.equal(NTM.from_pretrained("me/zoo").output.bias, NTM.from_pretrained("copy").output.bias)
    assert main(["export", "copy", "--format", "onnx", "--push_to_hub", "me/zoo"]) == 2
    assert "--push_to_hub is for --format safetensors" in capsys.readouterr().err


class Response:
    """What errors of the client hold."""

    status_code, headers, request, text = 404, {}, None, ""


def not_found():
    return hub.errors.RepositoryNotFoundError("404\nlong", response=Response())


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (not_found, "the Hugging Face hub has no repository me/copy that you may see."),
        (
            lambda: hub.errors.LocalEntryNotFoundError("no\nnetwork"),
            "the Hugging Face hub cannot be reached for me/copy.",
        ),
        (lambda: hub.errors.OfflineModeIsEnabled("offline"), "the Hugging Face hub cannot be reached for me/copy."),
        (lambda: hub.errors.HTTPError("dns"), "the Hugging Face hub cannot be reached for me/copy."),
        (lambda: hub.errors.HFValidationError("bad\nname"), "'me/copy' cannot be the name of a repository"),
        (lambda: OSError("disk full\nmore"), "the Hugging Face hub does not take me/copy: disk full"),
    ],
)
def test_what_goes_wrong_at_the_hub_is_one_line(error, says, fake):
    fake.error = error()
    for call in (lambda: NTM.from_pretrained("me/copy"), lambda: NTM(9, 8, **SIZES).push_to_hub("me/copy")):
        with pytest.raises(ValueError, match=r"Hugging Face hub|name of a repository") as raised:
            call()
        assert says in str(raised.value)
        assert "\n" not in str(raised.value)


def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(our_hub, "find_spec", lambda name: None)
    for call in (lambda: NTM.from_pretrained("me/copy"), lambda: NTM(9, 8, **SIZES).push_to_hub("me/copy")):
        with pytest.raises(ValueError, match=r"needs huggingface_hub: pip install 'lightning-ntm\[hub\]'"):
            call()


def test_paths_are_not_taken_for_repositories(fake, tmp_path):
    (tmp_path / "runs").mkdir()
    for path in ("runs/none", "./a/b", "/a/b", "a/b/c", "../a", Path("me/copy")):
        with pytest.raises(ValueError, match="has no network"):
            NTM.from_pretrained(path)
    assert fake.made == {}
