"""The README as package indexes show it, and the addresses of the project.

Package indexes do not resolve relative links. Where the environment variable `LIGHTNING_NTM_REPOSITORY` has the address
of the repository, as in the workflow that builds the wheels, pictures and links lead there; elsewhere pictures are left
out and links are their text.
"""

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

VARIABLE = "LIGHTNING_NTM_REPOSITORY"
_LINK = re.compile(r"(?P<picture>!?)\[(?P<text>[^\]]*)\]\((?!https?://|#)(?P<target>[^)\s]+)\)")


def readme(text: str, repository: str | None, tag: str) -> str:
    """Return a README without relative links.

    Args:
        text: Markdown.
        repository: Its address, as `https://host/owner/name`; `None` where it is not known.
        tag: Of the version in the repository.
    """

    def absolute(found: re.Match[str]) -> str:
        if repository is None:
            return "" if found["picture"] else found["text"]
        kind = "raw" if found["picture"] else "blob"
        return f"{found['picture']}[{found['text']}]({repository}/{kind}/{tag}/{found['target']})"

    return _LINK.sub(absolute, text)


def urls(repository: str | None, tag: str) -> dict[str, str]:
    """Return the addresses of the project by label; none where the repository is not known."""
    if repository is None:
        return {}
    pages = f"{repository}/blob/{tag}"
    return {
        "Source": repository,
        "Documentation": f"{pages}/docs/index.md",
        "Changelog": f"{pages}/CHANGELOG.md",
        "Issues": f"{repository}/issues",
    }


class Readme(MetadataHookInterface):
    """Sets `readme` and `urls` of the package."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Read the README and the address of the repository."""
        repository, tag = os.environ.get(VARIABLE, "").rstrip("/") or None, f"v{metadata['version']}"
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": readme(text, repository, tag)}
        metadata["urls"] = urls(repository, tag)
