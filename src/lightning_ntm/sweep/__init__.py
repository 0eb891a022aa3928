"""Many runs: a plan of them, an engine that trains what is missing, and how they stand."""

from .axes import numbers as numbers
from .engine import End as End, Engine as Engine, LocalEngine as LocalEngine, Worker as Worker
from .plan import Plan as Plan, PlannedRun as PlannedRun
from .status import State as State, Status as Status, status_of as status_of
