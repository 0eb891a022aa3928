"""What checks the annotations on every call in tests: beartype, to which a whole number is a number."""

from beartype import BeartypeConf, beartype
from jaxtyping import config

#: Tests of programs that compare them with the loops of networks. Those loops are checked by the tests of the networks.
UNCHECKED = ("tests/kernels/", "tests/training/")


def check_calls_of(test):
    """Check the calls in a test of this path, or not."""
    config.update("jaxtyping_disable", test.startswith(UNCHECKED))


check = beartype(conf=BeartypeConf(is_pep484_tower=True))
