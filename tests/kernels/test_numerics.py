"""The kernel's elementary functions against float64, over the whole range of float32, in every instruction set."""

import ctypes

import numpy as np
import pytest

from lightning_ntm.kernels.cpu import library

FUNCTIONS = {
    "exp": np.exp,
    "log": np.log,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
}
TINY = np.finfo(np.float32).tiny


def available():
    best = library.instructions(ctypes.CDLL(str(library.LIBRARY)))
    order = ["base", "avx2", "avx512"]
    return order[: order.index(best) + 1]


def apply(name, x, isa):
    function = getattr(ctypes.CDLL(str(library.LIBRARY)), f"ntm_function_{isa}")
    function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)
    y = np.empty_like(x)
    function(list(FUNCTIONS).index(name), x.size, x.ctypes.data, y.ctypes.data)
    return y


def every_magnitude(positive):
    bits = np.linspace(0, 0x7F7FFFFF, 400_001).astype(np.uint32)
    x = bits.view(np.float32)
    return x[x >= TINY] if positive else np.concatenate([-x, x, np.linspace(-110, 110, 400_001).astype(np.float32)])


@pytest.mark.parametrize("isa", available())
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_is_within_4_units_in_the_last_place(name, isa):
    x = every_magnitude(positive=name == "log")
    y, truth = apply(name, x, isa), FUNCTIONS[name](x.astype(np.float64))
    with np.errstate(over="ignore"):
        rounded = truth.astype(np.float32)
    finite = np.isfinite(rounded)
    assert np.array_equal(y[~finite], rounded[~finite])
    normal = finite & (np.abs(truth) >= TINY)
    units = np.abs(y[normal] - truth[normal]) / np.spacing(np.abs(rounded[normal])).astype(np.float64)
    assert units.max() <= 4, (name, x[normal][units.argmax()], units.max())
    # Below the normal numbers nothing is promised but nearness.
    assert np.abs(y[finite & ~normal] - truth[finite & ~normal]).max(initial=0) <= 2 * TINY


@pytest.mark.parametrize("isa", available())
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_nan_stays_a_nan(name, isa):
    x = np.full(33, np.nan, np.float32)
    assert np.isnan(apply(name, x, isa)).all()


@pytest.mark.parametrize("isa", available())
def test_infinities(isa):
    x = np.array([np.inf, -np.inf], np.float32)
    assert apply("exp", x, isa).tolist() == [np.inf, 0]
    assert apply("tanh", x, isa).tolist() == [1, -1]
    assert apply("sigmoid", x, isa).tolist() == [1, 0]
    assert apply("log", x[:1], isa).tolist() == [np.inf]
