"""Run folders on disk: how they are written, and what is read from many of them."""

from .declared import declared as declared
from .files import read_json as read_json
from .finding import find as find
from .folder import RunFolder as RunFolder
from .frame import SkippedRunWarning as SkippedRunWarning, load as load
from .locks import Claim as Claim, claim as claim
from .parsing import as_json as as_json, printable as printable
from .reading import Measured as Measured, Series as Series, Skipped as Skipped, read as read
from .results import difficulty_of as difficulty_of
from .writing import (
    make_folder as make_folder,
    without_empty as without_empty,
    write_whole as write_whole,
    write_with_folder as write_with_folder,
)
