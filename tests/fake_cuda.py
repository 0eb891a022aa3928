"""A stand-in for what timing asks of a CUDA device, so that it can be tested without one. The work runs on the CPU."""

import time
from contextlib import nullcontext
from types import SimpleNamespace

import torch

EVENT = torch.cuda.Event


class Clock:
    """Time that passes only when told."""

    def __init__(self):
        self.milliseconds, self.slept = 0.0, []

    def event(self, *, enable_timing):
        assert enable_timing
        return Event(self)


class Event:
    """An event whose time is read when the host records it."""

    def __init__(self, clock):
        self.clock = clock

    @property
    def __class__(self):  # for checks of annotations
        return EVENT

    def record(self):
        self.milliseconds = self.clock.milliseconds

    def elapsed_time(self, end):
        return end.milliseconds - self.milliseconds


def pretend(monkeypatch, clock, multiprocessors=4):
    """Let `torch.cuda` name a device, and measure time by a clock."""
    stand_ins = {
        "Event": clock.event,
        "synchronize": lambda device=None: None,
        "_sleep": clock.slept.append,
        "device": lambda device: nullcontext(),
        "get_device_name": lambda device=None: "a card",
        "get_device_properties": lambda device=None: SimpleNamespace(multi_processor_count=multiprocessors),
    }
    for name, stand_in in stand_ins.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)


class WallClock(Clock):
    """Time as it passes."""

    def __init__(self):
        self.slept = []

    @property
    def milliseconds(self):
        return 1000 * time.perf_counter()
