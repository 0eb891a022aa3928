"""Help texts of `ntm train`: the options that most people need, all options, and those of a class."""

import inspect
from argparse import SUPPRESS
from collections.abc import Collection, Mapping
from typing import Any

from lightning_ntm.recipes import resolve

_TRAIN = """usage: ntm train [--task TASK] [--model MODEL] [OPTIONS]

Train a network on a task into a run folder, or resume a run.

examples:
  ntm train --task Copy                         an NTM, the recipe of the task
  ntm train --task RepeatCopy --model LSTM      another task and network
  ntm train --task Copy --seeds 1-10            ten runs, as ntm sweep
  ntm train --config paper-copy --name graves   a preset; options may follow
  ntm train --resume runs/ntm-copy-seed1        resume an interrupted run

task and network:
  --task TASK                  Copy, RepeatCopy, PrioritySort, DynamicNGrams,
                               AssociativeRecall, ReverseString, ..., files, an
                               import path of your own; loads its recipe ({task})
  --model MODEL                NTM, DNC, SAM, SDNC, LSTM, GRU, RNN, StackRNN,
                               TapeRNN, Transformer, or an import path ({model})
  --task.help [TASK]           the options of a task, such as --task.max_length
  --model.help [MODEL]         those of a network, such as --model.memory_slots

run:
  -c, --config FILE            YAML file or preset; can be repeated
  --name NAME                  name of the run folder (NETWORK-TASK-seedN)
  --runs FOLDER                parent of the run folder (runs)
  --seed N                     seed of initial weights and episodes (1)
  --seeds A-B                  several runs, trained as by ntm sweep; takes its
                               --processes, --side-by-side, --shard, ...
  --resume FOLDER              a run folder; some options may change
  --stop_when_solved N         validations without error that end the run, or 0
                               for never (0)
  --keep_weights_every N       steps between weights that are kept, or 0 (0)
  --threads N                  CPU threads; auto: 1, and in the CPU kernel as
                               many as make it fastest (auto)

optimization:
  --optimizer OPTIMIZER        a class of torch.optim ({optimizer})
  --optimizer.lr RATE          learning rate ({optimizer.lr})
  --scheduler SCHEDULER        a class of torch.optim.lr_scheduler
  --decay_after SHARE          without a scheduler: share of the steps after
                               which the learning rate begins to fall linearly
                               to 0 ({decay_after})
  --trainer.gradient_clip_val  largest norm of the gradients ({trainer.gradient_clip_val})
  --weight_noise STD           noise on the weights in training (0.0)
  --head_noise STD             noise on the parameters of the NTM's heads (0.0)
  --noise_warmup SHARE         share of the steps in which noise rises from 0 to
                               its full value (0.0)
  --min_memory_slots N         lowest number of slots in training, 0: all ({min_memory_slots})

data and length of the training:
  --data.batch_size N          episodes of a step (8)
  --trainer.max_steps N        steps of the training ({trainer.max_steps})
  --trainer.max_time TIME      DD:HH:MM:SS, instead of max_steps
  --trainer.val_check_interval steps between two validations ({trainer.val_check_interval})

machine:
  --trainer.accelerator NAME   cpu, gpu or auto (auto)
  --trainer.precision NAME     64-true, bf16-mixed, bf16-true, ... (32-true)

further help:
  --help-all                   all options, including those of the Trainer
  --optimizer.help [OPTIMIZER] those of an optimizer; --scheduler.help SCHEDULER
  --print_config               print the complete configuration and end

In brackets: the values of an NTM on Copy. Other tasks have other recipes.
"""


def train_help() -> str:
    """Return the help text of `ntm train`. It needs no PyTorch."""
    values = dict(_flat(resolve({})))
    text = _TRAIN
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", f"{value}".rpartition(".")[2] if name in _CLASSES else f"{value}")
    return text


_CLASSES = ("model", "task", "optimizer")


def _flat(configuration: Mapping[str, Any], above: str = "") -> list[tuple[str, Any]]:
    """Return all values by dotted name; a class by that of its option."""
    found = []
    for name, value in configuration.items():
        inner = above if name in ("class_path", "init_args") else f"{above}.{name}".removeprefix(".")
        found += _flat(value, inner) if isinstance(value, dict) else [(inner, value)]
    return found


def class_help(group: str, path: str, configuration: Mapping[str, Any], linked: Collection[str]) -> str:
    """Return the options of a class, with the values that a training would use.

    Args:
        group: The option that takes the class, such as `model`.
        path: Import path of the class, or of a function.
        configuration: Of the training.
        linked: Arguments that are set otherwise.
    """
    from jsonargparse import ArgumentParser

    from lightning_ntm.evaluation.build import class_of  # imports PyTorch, which the other help needs not

    made = class_of(path)
    parser = ArgumentParser(add_help=False, usage=SUPPRESS, description=_summary(made) or path)
    options = parser.add_argument_group(f"options of {made.__name__}")
    add = options.add_class_arguments if inspect.isclass(made) else options.add_function_arguments
    skip: set[str | int] = {1} if group in ("optimizer", "scheduler") else {*linked}  # 1: parameters, or the optimizer
    added = add(made, group, as_group=False, skip=skip, fail_untyped=False)
    spec = configuration.get(group) or {}
    if spec.get("class_path") == path:
        values = {f"{group}.{name}": value for name, value in (spec.get("init_args") or {}).items()}
        parser.set_defaults({name: value for name, value in values.items() if name in added})
    return parser.format_help().lstrip()


def _summary(made: Any) -> str:
    """Return the first line of a docstring of its own: not that of a base class, nor the signature of a dataclass."""
    line = inspect.cleandoc(made.__doc__ or "").partition("\n")[0]
    return "" if line.startswith(f"{made.__name__}(") else line
