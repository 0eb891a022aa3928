"""Takes a picture of the page of a run, for docs/explorer.md: `python benchmarks/picture.py copy docs/explorer.png`.

Needs Chromium, and Playwright for Python.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from lightning_ntm import explore

#: A list of ten vectors, and the step after the delimiter in which the sixth is answered.
LIST = "11100000.01111111.11110110.01101110.01010000.00000111.01100111.01111110.10111100.00110110"
ADDRESS = f"#t=16&i={LIST}&r=1"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="a run folder, or a name of ntm zoo")
    parser.add_argument("picture", help="the file, as docs/explorer.png")
    parser.add_argument("--address", default=ADDRESS, help="what the page shows, as its address has it")
    arguments = parser.parse_args()
    browser = next(path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name)))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page = Path(folder) / "explore.html"
        explore(arguments.run).save(page)
        started = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        tab = started.new_page(viewport={"width": 1200, "height": 900})
        tab.goto(page.as_uri() + arguments.address)
        tab.wait_for_timeout(300)
        tab.screenshot(path=arguments.picture, full_page=True)
        started.close()


if __name__ == "__main__":
    main()
