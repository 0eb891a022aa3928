"""The pages of docs/ as the tests run them."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def blocks(page, language):
    """The blocks of code of one language on a page, in their order."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
