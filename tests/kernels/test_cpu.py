"""The native sequence against the model's own loop, over shapes and configurations that nobody chose."""

import copy
import ctypes
import subprocess
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings, strategies as st
from tests.forked import scripted

from lightning_ntm import DNC, NTM
from lightning_ntm.kernels.cpu import blocks, layout as shared, library
from lightning_ntm.kernels.dnc import layout as of_dnc
from lightning_ntm.kernels.ntm import layout as of_ntm
from lightning_ntm.states import flatten, mapped
from lightning_ntm.testing import check_kernel

SIZES = {
    "hidden_size": st.sampled_from([1, 2, 7, 16, 33]),
    "memory_width": st.sampled_from([1, 3, 8, 17]),
    "controller": st.sampled_from(["lstm", "feedforward"]),
    "num_layers": st.integers(1, 3),
}
OF_NTM = st.fixed_dictionaries(
    {
        **SIZES,
        "memory_slots": st.sampled_from([1, 2, 5, 16, 31, 64, 67]),
        "num_read_heads": st.integers(1, 3),
        "num_write_heads": st.integers(1, 3),
        "max_shift": st.integers(0, 3),
        "memory_init": st.sampled_from(["constant", "learned", "random"]),
        "head_init": st.sampled_from(["one_hot", "learned"]),
        "min_sharpening": st.sampled_from([1.0, 1.1, 3.0]),
        "gradient_limit": st.sampled_from([0.0, 0.0, 0.1, 1e-3]),
    }
)
OF_DNC = st.fixed_dictionaries(
    {
        **SIZES,
        "memory_slots": st.sampled_from([2, 5, 16, 31, 36, 67]),
        "num_read_heads": st.sampled_from([1, 2, 3, 4, 5, 9]),
        "masking": st.booleans(),
        "mask_floor": st.sampled_from([0.0, 0.1]),
        "deallocation": st.booleans(),
        "sharpening": st.booleans(),
    }
)
#: Networks that have a native program.
NETWORKS = pytest.mark.parametrize("kind", [NTM, DNC])


def network(kind, configuration, seed, dtype=torch.float64):
    torch.manual_seed(seed)
    slots, options = configuration["memory_slots"], dict(configuration)
    if kind is NTM:
        options["max_shift"] = min(options["max_shift"], (slots - 1) // 2)
    else:
        options["num_read_heads"] = min(options["num_read_heads"], slots)
        options["mask_floor"] *= options["masking"]
    return kind(3, 2, **options, backend="reference").to(dtype)


def small(kind, **options):
    return kind(3, 2, **{"hidden_size": 9, "memory_slots": 17, "memory_width": 5, "backend": "cpu", **options})


def results(model, inputs, backend, state=None):
    """Outputs, last state and every gradient, those of a given state included."""
    twin = copy.deepcopy(model)
    twin.backend = backend
    inputs = inputs.clone().requires_grad_()
    state = state and mapped(lambda part: part.detach().clone().requires_grad_(), state)
    logits, end = twin(inputs, state)
    end = flatten(end)
    generator = torch.Generator().manual_seed(0)
    weighted = [(torch.rand(t.shape, generator=generator, dtype=torch.float64).to(t) * t).sum() for t in (logits, *end)]
    sum(weighted).backward()
    leaves = [inputs, *twin.parameters(), *flatten(state or ())]
    # What a state does not reach has no gradient in the loop, and zeros from the kernel.
    gradients = [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves]
    return [logits, *end, *gradients]


def check_in_float64(model, batch, time, given_state):
    inputs = torch.randn(batch, time, 3, dtype=torch.float64)
    state = model(torch.randn(batch, 2, 3, dtype=torch.float64))[1] if given_state else None
    mine, reference = (results(model, inputs, backend, state) for backend in ("cpu", "reference"))
    for one, other in zip(mine, reference, strict=True):
        scale = max(1.0, float(other.detach().abs().max())) if other.numel() else 1.0
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10 * scale)


@settings(max_examples=200)
@given(OF_NTM, st.integers(1, 20), st.integers(1, 6), st.booleans(), st.integers(0, 99))
def test_an_ntm_equals_the_loop_in_float64(configuration, batch, time, given_state, seed):
    check_in_float64(network(NTM, configuration, seed), batch, time, given_state)


@settings(max_examples=200)
@given(OF_DNC, st.integers(1, 17), st.integers(1, 11), st.booleans(), st.integers(0, 99))
def test_a_dnc_equals_the_loop_in_float64(configuration, batch, time, given_state, seed):
    check_in_float64(network(DNC, configuration, seed), batch, time, given_state)


def check_in_float32(model, batch, time):
    inputs = torch.randn(batch, time, 3)
    truth = results(model, inputs.double(), "reference")
    single = copy.deepcopy(model).float()
    mine, loop = (results(single, inputs, backend) for backend in ("cpu", "reference"))
    for one, other, true in zip(mine, loop, truth, strict=True):
        if true.numel():
            # 1e-4 of the largest; where a small memory makes that impossible, four times the loop's own error.
            allowed = 1e-4 * true.abs().max() + 4 * (other - true).abs().max()
            assert (one - true).abs().max() <= allowed


@settings(max_examples=50)
@given(OF_NTM, st.integers(1, 20), st.integers(1, 6), st.integers(0, 99))
def test_an_ntm_in_float32_is_as_near_to_float64_as_the_loop(configuration, batch, time, seed):
    # A memory of 1e-6 has cosine gradients of 1e6: no float32 can follow them, so it is left out here.
    check_in_float32(network(NTM, {**configuration, "memory_init": "learned"}, seed), batch, time)


@settings(max_examples=50)
@given(OF_DNC, st.integers(1, 17), st.integers(1, 7), st.integers(0, 99))
def test_a_dnc_in_float32_is_as_near_to_float64_as_the_loop(configuration, batch, time, seed):
    check_in_float32(network(DNC, configuration, seed), batch, time)


@NETWORKS
def test_a_sequence_in_pieces_equals_the_whole_with_and_without_gradients(kind):
    model = small(kind)
    inputs = torch.randn(11, 9, 3)
    whole, end = model(inputs)
    with torch.no_grad():
        first, state = model(inputs[:, :4])
        rest, streamed = model(inputs[:, 4:], state)
    assert torch.equal(torch.cat([first, rest], dim=1), whole)
    assert all(torch.equal(a, b) for a, b in zip(flatten(end), flatten(streamed), strict=True))


@pytest.mark.parametrize("batch", [1, 3, 8, 13])
@NETWORKS
def test_results_do_not_depend_on_threads_and_do_not_change_from_run_to_run(kind, batch):
    model = small(kind)
    inputs, runs = torch.randn(batch, 6, 3), []
    compiled = ctypes.CDLL(str(library.LIBRARY))
    for threads in (1, 2, 1, 3):
        torch.set_num_threads(threads)
        runs.append(results(model, inputs, "cpu"))
        compiled.ntm_use_team(None, None)  # threads of its own
        runs.append(results(model, inputs, "cpu"))
        library.use_threads_of_pytorch(compiled)
    for run in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(run, runs[0], strict=True))


@NETWORKS
def test_what_memory_held_before_does_not_matter(kind, monkeypatch):
    model = small(kind, num_layers=2)
    clean = blocks._take

    def poisoned(count):
        block = clean(count)
        block.fill(0xFF)  # NaN in every number
        return block

    monkeypatch.setattr(blocks, "_take", poisoned)
    check_kernel(model, "cpu", torch.randn(5, 6, 3))


@NETWORKS
def test_many_threads_do_not_get_each_other_s_memory(kind):
    model = small(kind)
    sequences = [torch.randn(batch, time, 3) for batch in (1, 2, 5) for time in (1, 4, 9)]
    alone = [results(model, inputs, "cpu") for inputs in sequences]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(10):
            together = pool.map(lambda inputs: results(model, inputs, "cpu"), sequences)
            for mine, other in zip(together, alone, strict=True):
                assert all(torch.equal(a, b) for a, b in zip(mine, other, strict=True))


@NETWORKS
def test_a_nan_goes_out_as_nan(kind):
    model = small(kind)
    inputs = torch.randn(2, 6, 3)
    inputs[0, 2, 1] = float("nan")
    logits, _ = model(inputs)
    assert torch.isnan(logits[0, 2:]).all()
    assert torch.isfinite(logits[0, :2]).all()
    assert torch.isfinite(logits[1]).all()


@NETWORKS
def test_twice_backward_needs_no_new_forward(kind):
    model = small(kind)
    loss = model(torch.randn(2, 6, 3))[0].square().sum()
    loss.backward(retain_graph=True)
    once = model.heads.weight.grad.clone()
    kind(3, 2)(torch.randn(9, 30, 3))[0].sum().backward()  # other memory is taken and given back meanwhile
    loss.backward()
    torch.testing.assert_close(model.heads.weight.grad, 2 * once)


OPERATOR = """
import torch
from lightning_ntm import DNC, NTM
from lightning_ntm.kernels.cpu import sequence
from lightning_ntm.states import flatten

NETWORKS = ("ntm", NTM, [1, 1, 1, 1, 1], [0.01, 1.2]), ("dnc", DNC, [1, 1, 0, 0, 0, 1], [0.01])
for name, kind, counts, numbers in NETWORKS:
    model = kind(3, 2, hidden_size=4, memory_slots=5, memory_width=3, num_layers=2)
    state = [part.detach().clone().requires_grad_() for part in flatten(model.initial_state(2))]
    layers = [*model.controller.layers, model.heads]
    weights, biases = ([getattr(layer, part).detach() for layer in layers] for part in ("weight", "bias"))
    weights[0].requires_grad_(), biases[1].requires_grad_()
    arguments = (name, torch.randn(2, 3, 3, requires_grad=True), state, weights, biases, counts, numbers)
    torch.library.opcheck(torch.ops.lightning_ntm.sequence.default, arguments)
"""

COMPILED = """
import torch
from lightning_ntm import DNC, NTM

class Tagger(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.before, self.network = torch.nn.Linear(5, 3), network

    def forward(self, inputs):
        return self.network(self.before(inputs).tanh())[0].square()

graphs = []
def counting(graph, example):
    graphs.append([str(node.target) for node in graph.graph.nodes])
    return graph

sizes = {"hidden_size": 4, "memory_slots": 5, "memory_width": 3}
for network in (NTM(3, 2, gradient_limit=0.1, min_sharpening=1.5, **sizes), DNC.mds(3, 2, **sizes)):
    graphs.clear()
    model, inputs, outputs = Tagger(network), torch.randn(2, 6, 5), []
    for run in (model, torch.compile(model, backend=counting, fullgraph=True)):
        model.zero_grad()
        result = run(inputs)
        result.sum().backward()
        outputs.append([result, *(p.grad.clone() for p in model.parameters())])
    torch.testing.assert_close(*outputs)
    assert len(graphs) == 1
    assert any("lightning_ntm.sequence" in target for target in graphs[0]), graphs
"""


EXPORTED = """
import torch
from lightning_ntm import DNC, NTM
from torch.fx.experimental.proxy_tensor import make_fx

for kind in (NTM, DNC):
    model, inputs = kind(3, 2, hidden_size=4, memory_slots=5, memory_width=3), torch.randn(2, 4, 3)
    shapes = ({0: torch.export.Dim("batch", min=2)},)
    exported = torch.export.export(model, (inputs,), dynamic_shapes=shapes, strict=False)
    symbolic = make_fx(lambda inputs: model(inputs)[0], tracing_mode="symbolic", _allow_non_fake_inputs=True)(inputs)
    for graph in (exported.graph, symbolic.graph):
        assert any("lightning_ntm.sequence" in str(node.target) for node in graph.nodes), graph
    more = torch.randn(5, 4, 3)
    torch.testing.assert_close(exported.module()(more)[0], model(more)[0])
"""


def test_composes_with_pytorch():
    # In a process of its own: the checking of annotations in this one cannot be traced.
    scripted(OPERATOR + COMPILED + EXPORTED)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda model: model.to("meta")(torch.zeros(1, 2, 3, device="meta")), "it needs tensors on the CPU"),
        (lambda model: model.bfloat16()(torch.zeros(1, 2, 3, dtype=torch.bfloat16)), "the parameters are not"),
        (lambda model: model(torch.zeros(1, 2, 3, dtype=torch.float64)), "the state or the parameters are not"),
    ],
)
@NETWORKS
def test_what_it_cannot_run_is_told(kind, call, reason):
    with pytest.raises(ValueError, match=rf"backend \(='cpu'\) cannot run this call: .*{reason}"):
        call(kind(3, 2, backend="cpu"))


def test_a_subclass_with_a_step_of_its_own_is_not_run_by_its_parent_s_kernel():
    class Doubled(NTM):
        def step(self, x, state):
            logits, state = super().step(x, state)
            return 2 * logits, state

    torch.manual_seed(0)
    doubled = Doubled(3, 2, hidden_size=4)
    plain = NTM(3, 2, hidden_size=4)
    plain.load_state_dict(doubled.state_dict())
    inputs = torch.randn(1, 4, 3)
    torch.testing.assert_close(doubled(inputs)[0], 2 * plain(inputs)[0])


def test_without_the_compiled_library_the_loop_runs(monkeypatch, tmp_path):
    monkeypatch.setattr(library, "LIBRARY", tmp_path / "libntm.so")
    library.opened.cache_clear()
    try:
        assert "no C++ compiler" in library.missing()
        assert NTM(3, 2)(torch.zeros(1, 2, 3))[0].shape == (1, 2, 2)
        with pytest.raises(ValueError, match="no C\\+\\+ compiler when lightning-ntm was installed"):
            NTM(3, 2, backend="cpu")(torch.zeros(1, 2, 3))
    finally:
        library.opened.cache_clear()


OTHER_SOURCES = {
    "of other sources": 'extern "C" const char* ntm_sources() { return "other"; }',
    "older than the question": 'extern "C" const char* ntm_instructions() { return "base"; }',
}


@pytest.mark.parametrize("source", OTHER_SOURCES.values(), ids=OTHER_SOURCES)
def test_a_library_of_other_sources_is_not_called(monkeypatch, tmp_path, source):
    (tmp_path / "other.cpp").write_text(source)
    stale = tmp_path / "libntm.so"
    subprocess.run(["c++", "-shared", "-fPIC", tmp_path / "other.cpp", "-o", stale], check=True)
    monkeypatch.setattr(library, "LIBRARY", stale)
    monkeypatch.setattr(library, "_warned", set())
    library.opened.cache_clear()
    try:
        with pytest.warns(UserWarning, match=r"`pip install -e \.`, or `make install`.*: the plain loop runs") as told:
            logits = [NTM(3, 2)(torch.zeros(1, 2, 3))[0] for _ in range(3)]
        assert len(told) == 1
        assert logits[2].shape == (1, 2, 2)
        with pytest.raises(ValueError, match=r"cannot run this call: .*other sources.*`pip install -e \.`"):
            NTM(3, 2, backend="cpu")(torch.zeros(1, 2, 3))
        assert "`pip install -e .`" in library.missing()
    finally:
        library.opened.cache_clear()


@pytest.mark.parametrize("source", ["cpu/products.hpp", "ntm/cpu.cpp", "dnc/links.hpp"])
def test_a_source_that_changes_is_noticed(monkeypatch, tmp_path, source):
    folder = Path(library.__file__).parents[1]
    before = library.digest_of_sources()
    for path in folder.glob("*/*.[ch]pp"):
        copied = tmp_path / path.relative_to(folder)
        copied.parent.mkdir(exist_ok=True)
        copied.write_bytes(path.read_bytes())
    monkeypatch.setattr(library, "__file__", str(tmp_path / "cpu" / "library.py"))
    assert library.digest_of_sources() == before
    with (tmp_path / source).open("a") as file:
        file.write("// changed")
    assert library.digest_of_sources() != before


@pytest.mark.parametrize("layout", [of_ntm, of_dnc], ids=["ntm", "dnc"])
@pytest.mark.parametrize(
    "change",
    [
        lambda layout: (layout, "LAYOUT", layout.LAYOUT + 1),
        lambda layout: (shared, "LAYER", (*shared.LAYER, "more")),
        lambda layout: (layout, "ARRAYS", layout.ARRAYS[:-1]),
        lambda layout: (layout, "Sizes", type("Sizes", (layout.Sizes,), {"_fields_": [("more", ctypes.c_int64)]})),
    ],
    ids=["version", "layer", "arrays", "sizes"],
)
def test_a_library_with_another_layout_of_arguments_is_not_called(monkeypatch, layout, change):
    monkeypatch.setattr(*change(layout))
    monkeypatch.setattr(library, "_warned", set())
    library.opened.cache_clear()
    try:
        with pytest.warns(UserWarning, match="another layout .*`make install`.*: the plain loop runs"):
            assert NTM(3, 2)(torch.zeros(1, 2, 3))[0].shape == (1, 2, 2)
        with pytest.raises(ValueError, match=r"cannot run this call: .*another layout.*`pip install -e \.`"):
            NTM(3, 2, backend="cpu")(torch.zeros(1, 2, 3))
    finally:
        library.opened.cache_clear()


MEMORY = """
import ctypes, os, resource, sys, torch
from itertools import product
from lightning_ntm import DNC, NTM
from lightning_ntm.kernels.cpu import library, native

unlimited = resource.getrlimit(resource.RLIMIT_AS)

def case(threads, own, dnc, backward):
    torch.set_num_threads(threads)
    kind, slots = (DNC, 3000) if dnc else (NTM, 100_000)
    model = kind(3, 2, hidden_size=4, memory_slots=slots, memory_width=16, backend="cpu")
    small = kind(3, 2, hidden_size=4, backend="cpu")
    small(torch.zeros(16, 2, 3))[0].sum().backward()  # the threads are there
    if own:
        native.entry_points = lambda found=dict(library.entry_points()): found
        ctypes.CDLL(str(library.LIBRARY)).ntm_use_team(None, None)
    call = native._call

    def limited(*arguments, **options):
        if options["backward"] == bool(backward):
            used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + 4_000_000, unlimited[1]))
        try:
            call(*arguments, **options)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, unlimited)

    native._call = limited
    inputs = torch.zeros(4, 2, 3)
    try:
        with torch.set_grad_enabled(bool(backward)):
            logits, _ = model(inputs)
            if backward:
                logits.sum().backward()
        sys.exit("it ran")
    except RuntimeError as error:
        assert "can't allocate memory" in str(error), error
    native._call = call
    assert torch.isfinite(model(inputs)[0]).all()  # and goes on

# Each in a process of its own, which has no threads when it begins.
for (threads, own, dnc), backward in product([(1, 0, 0), (2, 0, 0), (2, 1, 0), (2, 0, 1)], [0, 1]):
    if not (child := os.fork()):
        case(threads, own, dnc, backward)
        sys.stdout.flush()
        os._exit(0)
    print(threads, own, dnc, backward, os.waitpid(child, 0)[1], flush=True)
"""


def test_without_memory_it_is_an_error_and_not_the_end_of_the_process():
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    ends = [line.split()[-1] for line in done.stdout.splitlines()]
    assert ends == ["0"] * 8, done.stdout + done.stderr


def test_more_than_there_is_is_an_error_as_in_the_loop():
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        blocks.empty(torch.zeros(1), 2**48)
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        torch.empty(2**48)


def test_blocks_are_at_most_an_eighth_too_large():
    for count in [*range(1, 10_000), *(2**power + more for power in range(14, 44) for more in (-1, 0, 1, 12_345))]:
        size = blocks._size(count)
        assert count <= size <= max(count + 64, count * 9 / 8)
        assert blocks._size(size) == size
    assert len({blocks._size(count) for count in range(2**20, 2**21, 61)}) <= 9


@pytest.fixture
def pool(monkeypatch):
    free = defaultdict(list)
    monkeypatch.setattr(blocks, "_free", free)
    return free


def test_a_free_block_that_is_less_than_twice_as_large_is_taken(pool):
    blocks._give_back(blocks._take(1_500_000))
    assert blocks._take(1_400_000).nbytes >= 1_500_000
    blocks._give_back(blocks._take(1_500_000))
    assert blocks._take(700_000).nbytes < 800_000


def test_sizes_that_grow_do_not_add_up(pool):
    for count in range(1_000_000, 10_000_000, 10_000):
        blocks._give_back(blocks._take(count))
    kept = [block.nbytes for free in pool.values() for block in free]
    assert sum(kept) < 2.5 * 10_000_000


@NETWORKS
def test_an_empty_batch_is_left_to_the_loop(kind):
    model = small(kind, backend="auto")
    logits, state = model(torch.zeros(0, 4, 3))
    assert logits.shape == (0, 4, 2)
    assert state.memory.memory.shape == (0, 17, 5)
    model.backend = "cpu"
    with pytest.raises(ValueError, match="the batch is empty"):
        model(torch.zeros(0, 4, 3))
