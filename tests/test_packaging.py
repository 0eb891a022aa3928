"""What is published beside the code: the README of package indexes, addresses, wheels and the citation."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from hatch_readme import VARIABLE, Readme, readme, urls

ROOT = Path(__file__).parents[1]
REPOSITORY = "https://example.org/owner/name"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.mark.parametrize("address", [REPOSITORY, f"{REPOSITORY}/", None])
def test_the_readme_of_an_index_has_no_relative_links(address, monkeypatch):
    if address is None:
        monkeypatch.delenv(VARIABLE, raising=False)
    else:
        monkeypatch.setenv(VARIABLE, address)
    metadata = {"version": "1.2.3"}
    Readme(str(ROOT), {}).update(metadata)
    text = metadata["readme"]["text"]
    targets = re.findall(r"\]\(([^)]+)\)", text)
    assert targets
    assert all(target.startswith("https://") for target in targets)
    pictures = re.findall(r"!\[[^\]]*\]\((.*?)\)", text)
    assert pictures == ([f"{REPOSITORY}/raw/v1.2.3/docs/memory.png"] if address else [])
    assert set(metadata["urls"]) == ({"Source", "Documentation", "Changelog", "Issues"} if address else set())


def test_links_keep_their_text():
    text = (
        "![Memory](docs/memory.png) [results](docs/results.md#copy), [paper](https://arxiv.org/abs/1410.5401), [up](#x)"
    )
    kept = "[paper](https://arxiv.org/abs/1410.5401), [up](#x)"
    assert readme(text, None, "v1") == f" results, {kept}"
    assert readme(text, REPOSITORY, "v1") == (
        f"![Memory]({REPOSITORY}/raw/v1/docs/memory.png) [results]({REPOSITORY}/blob/v1/docs/results.md#copy), {kept}"
    )


def test_addresses_lead_to_files_of_the_repository():
    for address in urls(REPOSITORY, "v1").values():
        place = address.removeprefix(REPOSITORY).removeprefix("/blob/v1")
        assert place in ("", "/issues") or (ROOT / place[1:]).is_file()


def test_wheels_are_built_for_each_platform_and_one_for_all_others():
    builds = PYPROJECT["tool"]["cibuildwheel"]["build"].split()
    assert [name.partition("-")[2] for name in builds] == ["manylinux_x86_64", "manylinux_aarch64", "macosx_arm64"]
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "wheels.yml").read_text())
    jobs = workflow["jobs"]
    assert jobs["native"]["strategy"]["matrix"]["os"] == ["ubuntu-24.04", "ubuntu-24.04-arm", "macos-15"]
    assert any(step.get("env") == {"HATCH_BUILD_NO_HOOKS": "true"} for step in jobs["pure"]["steps"])
    assert jobs["versions"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13", "3.14"]
    assert set(jobs["publish"]["needs"]) == {"native", "pure", "versions"}
    assert VARIABLE in workflow["env"]
    for name in re.findall(r"benchmarks/\w+\.py", (ROOT / ".github/workflows/wheels.yml").read_text()):
        assert (ROOT / name).is_file()


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert {"title", "authors", "message"} <= citation.keys()
    assert str(citation["version"]) == PYPROJECT["project"]["version"]
    assert citation["license"] == PYPROJECT["project"]["license"]
