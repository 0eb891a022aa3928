"""`ntm explore`: a page on which a trained network runs."""

import tempfile
import webbrowser
from pathlib import Path

from lightning_ntm.cli.words import Parser, explained, file_of, filled


def explore(argv: list[str]) -> int:
    """Write the page of a run, and open it in a browser."""
    parser = Parser(
        prog="ntm explore",
        description="Make a page on which a trained network runs step by step, on inputs that you draw. The page is "
        "one file that needs no other file. It opens in the browser, unless --html writes it to a file.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "run", type=filled, metavar="RUN", help="a run folder, a folder of save_pretrained, or a name of ntm zoo"
    )
    parser.add_argument(
        "beside", nargs="?", type=filled, metavar="RUN2", help="a second network on the same task, to show beside it"
    )
    parser.add_argument(
        "--html", type=file_of(".html", ".htm"), metavar="FILE", help="write the page to this file, and open no browser"
    )
    parser.add_argument("--no-browser", action="store_true", help="only print where the page is")
    arguments = parser.parse_args(argv)
    from lightning_ntm.cli.output import say
    from lightning_ntm.explorer import explore

    with explained("", MemoryError, OverflowError, RuntimeError):
        page = explore(arguments.run, beside=arguments.beside)
        place = (
            Path(arguments.html) if arguments.html else Path(tempfile.mkdtemp(prefix="ntm-explore-"), "explore.html")
        )
        page.save(place)
    say(str(place))
    if not arguments.html and not arguments.no_browser and not webbrowser.open(place.as_uri()):
        say("No browser was found; open this file in one.")
    return 0
