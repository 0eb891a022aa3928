"""Run folders on disk: how they are written, and what is read from many of them."""

from .finding import find as find
from .folder import (
    Claim as Claim,
    RunFolder as RunFolder,
    as_json as as_json,
    claim as claim,
    difficulty_of as difficulty_of,
    read_json as read_json,
    write_whole as write_whole,
)
from .frame import SkippedRunWarning as SkippedRunWarning, load as load
from .reading import Measured as Measured, Series as Series, Skipped as Skipped, read as read
