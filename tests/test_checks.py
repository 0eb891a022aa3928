import re
from fractions import Fraction

import jaxtyping
import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import StepLR

import lightning_ntm
from lightning_ntm import open_run
from lightning_ntm.checks import at_least, at_most, check_name, one_of, ordered
from lightning_ntm.tasks.answers import Symbols
from lightning_ntm.tasks.curricula import Fixed, RegularIncrease, ReverseExponential
from lightning_ntm.training import EpisodeData, SequenceLearner
from lightning_ntm.training.settings import Settings


@pytest.fixture
def _unchecked():
    """Annotations are not checked, as outside of tests."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def test_a_word_that_is_not_allowed_is_told_with_those_that_are():
    one_of(("lstm", "feedforward"), controller="lstm")
    with pytest.raises(ValueError, match=r"controller \(='gru'\) must be one of lstm, feedforward"):
        one_of(("lstm", "feedforward"), controller="gru")


def test_numbers_out_of_range_or_order_are_told_by_name():
    at_least(1, bits=1)
    at_most(1, priority=1.0)
    ordered(min_length=2, max_length=2)
    with pytest.raises(ValueError, match=r"priority \(=1\.5\) must be at most 1\."):
        at_most(1, other=0, priority=1.5)
    for check in (at_least, at_most):
        with pytest.raises(ValueError, match=r"priority \(=nan\)"):
            check(0, priority=float("nan"))
    with pytest.raises(ValueError, match=r"bits \(=0\) must be at least 1"):
        at_least(1, length=2, bits=0)
    with pytest.raises(ValueError, match=r"min_length \(=3\) must be at most max_length \(=2\)"):
        ordered(min_length=3, max_length=2)


@pytest.mark.parametrize("name", ["a", "a b", "é", "a.b-1", "a" * 200])
def test_names_of_folders(name):
    check_name("--name", name)


@pytest.mark.parametrize(
    "name", ["", " ", " a", "a ", "a\n", "a\nb", "a\tb", "\x1b[31m", "a/b", "..", ".a", "a" * 201, "a\u202eb", "\ud800"]
)
def test_names_that_no_folder_has_are_told_in_a_line(name):
    with pytest.raises(ValueError, match=r"--name \(=.*\) must be a plain folder name of at most 200 bytes: ") as error:
        check_name("--name", name)
    assert str(error.value).isprintable()


ADAM = "functools.partial(torch.optim.Adam, lr=1e-3)"
STEPS = "functools.partial(torch.optim.lr_scheduler.StepLR, step_size=100)"
SGD = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
NETWORKS = ("NTM", "DNC", "SAM", "SDNC", "StackRNN", "TapeRNN", "LSTM", "GRU", "RNN", "Transformer")


@pytest.mark.usefixtures("_unchecked")
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_names_the_argument_of_a_wrong_type(name):
    network = getattr(lightning_ntm, name)
    with pytest.raises(TypeError, match=r"^input_size must be a whole number, not str \('3'\)\.$"):
        network("3", 2)
    with pytest.raises(TypeError, match=r"^output_size must be a whole number, not float \(2\.0\)\.$"):
        network(3, 2.0)
    with pytest.raises(TypeError, match=r"^input_size must be a whole number, not Copy\.$"):
        network(lightning_ntm.Copy(), 2)


@pytest.mark.usefixtures("_unchecked")
def test_functions_and_parts_of_a_training_say_what_they_expect():
    run = open_run("copy")
    opened = "network must be a network, a folder or a name of ntm zoo, not TrainedRun; give its model and its task."
    wrong = {
        opened: lambda: lightning_ntm.figure(run),
        "network must be a network, a folder or a name of ntm zoo, not int (3).": lambda: lightning_ntm.figure(3),
        "model must be a network, as NTM(9, 8), not str ('NTM').": lambda: SequenceLearner("NTM"),
        "model must be a network, as NTM(9, 8), not the class NTM.": lambda: SequenceLearner(lightning_ntm.NTM),
        "task must be a task, as Copy(), not str ('copy').": lambda: EpisodeData("copy"),
        "task must be a task, as Copy(), not the class Copy.": lambda: EpisodeData(lightning_ntm.Copy),
        "bits must be a whole number, not str ('8').": lambda: lightning_ntm.Copy(bits="8"),
        "min_length must be a whole number, not str ('3').": lambda: lightning_ntm.Copy(min_length="3"),
        "bits must be a whole number, not bool (True).": lambda: lightning_ntm.Copy(bits=True),
        "max_length must be a whole number, not float (2.5).": lambda: lightning_ntm.Copy(max_length=2.5),
        "memory must be a module of the class Memory, not int (3).": lambda: lightning_ntm.NTM(9, 8, memory=3),
        "curriculum must be a curriculum, as RegularIncrease(), not int (3).": lambda: EpisodeData(
            lightning_ntm.Copy(), curriculum=3
        ),
        "min_memory_slots must be a whole number, not float (3.0).": lambda: SequenceLearner(
            lightning_ntm.NTM(9, 8), min_memory_slots=3.0
        ),
        "num_layers must be a whole number, not bool (True).": lambda: lightning_ntm.LSTM(9, 8, num_layers=True),
        "stay_bias must be a number, not bool (True).": lambda: lightning_ntm.NTM(9, 8, stay_bias=True),
        "state must be a state of a network, not int.": lambda: lightning_ntm.detach(3),
        "batch_size must be a whole number, not float (2.5).": lambda: EpisodeData(
            lightning_ntm.Copy(), batch_size=2.5
        ),
        "seed must be a whole number, not bool (True).": lambda: EpisodeData(lightning_ntm.Copy(), True),
        "validation_sequences must be a whole number, not float (2.0).": lambda: EpisodeData(
            lightning_ntm.Copy(), validation_sequences=2.0
        ),
        "stop_when_solved must be a whole number, not float (1.5).": lambda: Settings(stop_when_solved=1.5),
        "weight_noise must be a number, not bool (True).": lambda: SequenceLearner(
            lightning_ntm.NTM(9, 8), weight_noise=True
        ),
        "every must be a whole number, not float (2.5).": lambda: RegularIncrease(every=2.5),
        "by must be a whole number, not bool (True).": lambda: RegularIncrease(by=True),
        "value must be a whole number, not float (2.5).": lambda: Fixed(2.5),
        "tau must be a number, not bool (True).": lambda: ReverseExponential(tau=True),
        "all_below must be true or false, not str ('false').": lambda: RegularIncrease(all_below="false"),
        "causal must be true or false, not str ('false').": lambda: lightning_ntm.Transformer(9, 8, causal="false"),
        "length_oracle must be true or false, not int (2).": lambda: lightning_ntm.TapeRNN(9, 8, length_oracle=2),
        "same_length must be true or false, not str ('no').": lambda: lightning_ntm.Copy(same_length="no"),
        "answer must be an answer, as Symbols(5), not the class Symbols.": lambda: SequenceLearner(
            lightning_ntm.NTM(9, 8), answer=Symbols
        ),
        "answer must be an answer, as Symbols(5), not str ('symbols').": lambda: SequenceLearner(
            lightning_ntm.NTM(9, 8), answer="symbols"
        ),
        f"optimizer must be a function that makes one, as {ADAM}, not str ('Adam').": lambda: SequenceLearner(
            lightning_ntm.NTM(9, 8), "Adam"
        ),
        f"optimizer must be a function that makes one, as {ADAM}, not SGD.": lambda: SequenceLearner(
            lightning_ntm.NTM(9, 8), SGD
        ),
        f"scheduler must be a function that makes one, as {STEPS}, not StepLR.": lambda: SequenceLearner(
            lightning_ntm.NTM(9, 8), scheduler=StepLR(SGD, 3)
        ),
    }
    for message, make in wrong.items():
        with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
            make()


@pytest.mark.usefixtures("_unchecked")
def test_numbers_of_other_packages_become_those_of_python():
    network = lightning_ntm.NTM(np.int8(9), 8, num_read_heads=np.int8(3), stay_bias=Fraction(1, 2))
    same = lightning_ntm.NTM(9, 8, num_read_heads=3, stay_bias=0.5)
    assert network.made_with == same.made_with
    assert {name: part.shape for name, part in network.state_dict().items()} == {
        name: part.shape for name, part in same.state_dict().items()
    }


@pytest.mark.usefixtures("_unchecked")
def test_arguments_that_no_constructor_takes_are_told_with_its_name():
    for made in (lightning_ntm.Copy, lightning_ntm.NTM):
        with pytest.raises(
            TypeError, match=rf"^{made.__name__}\.__init__\(\) got an unexpected keyword argument 'other'"
        ):
            made(other=3)


@pytest.mark.usefixtures("_unchecked")
def test_truth_values_of_other_packages_become_those_of_python():
    network = lightning_ntm.Transformer(9, 8, causal=np.bool_(False))
    assert network.made_with["causal"] is False
    assert lightning_ntm.Transformer(9, 8, causal=0).made_with["causal"] is False
    assert RegularIncrease(all_below=np.bool_(True), every=np.int64(3)).every == 3
