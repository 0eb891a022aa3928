"""Reads pickles of PyTorch as data: tensors, containers, and the names of everything else.

Nothing that a pickle names is imported or called. The opcodes are those of Python's `pickletools`; this machine builds
containers from them and describes the rest.
"""

import io
import pickletools
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Global(NamedTuple):
    """The name of a class or function."""

    name: str


class Storage(NamedTuple):
    """The numbers of tensors, which stand elsewhere in the file: the name of their class, and their key."""

    kind: str
    key: str


class TensorView(NamedTuple):
    """A tensor as a part of a storage."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(eq=False)
class Instance:
    """An object of a class that is not made: its name, and its attributes if they are in the file."""

    name: str
    attributes: dict[Any, Any] = field(default_factory=dict)


class _Mark:
    """Begins the arguments of an opcode on the stack."""


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
}
_IGNORED = {"PROTO", "FRAME"}
_PUTS, _GETS = {"PUT", "BINPUT", "LONG_BINPUT"}, {"GET", "BINGET", "LONG_BINGET"}
#: Opcodes that take as many values and make a tuple of them.
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_KEYS = (str, int)
#: Opcodes of a pickle at most; a network of a hundred tensors has some thousands.
_MOST_OPCODES = 10**6


def load(file: io.BytesIO) -> Any:
    """Return the value of a pickle; the file then stands behind it.

    Raises:
        ValueError: It is not a pickle, or has an opcode that PyTorch does not write.
    """
    machine = _Machine()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's own, about escapes in texts
            for number, (opcode, argument, _) in enumerate(_opcodes(file)):
                if opcode.name == "STOP":
                    return machine.stack.pop()
                if number == _MOST_OPCODES:
                    raise ValueError(f"its pickle has more than {_MOST_OPCODES:,} opcodes")
                machine.run(opcode.name, argument)
    except (IndexError, KeyError, TypeError, AttributeError, OverflowError):
        raise ValueError("its pickle is damaged") from None
    raise ValueError("its pickle is cut short")


def _opcodes(file: io.BytesIO) -> Iterator[Any]:
    try:
        yield from pickletools.genops(file)
    except ValueError:
        raise ValueError("its pickle is damaged or cut short") from None


class _Machine:
    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, name: str, argument: Any) -> None:
        if name in _VALUES:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _PUTS:
            self.memo[argument] = self.stack[-1]
        elif name in _GETS:
            self.stack.append(self.memo[argument])
        elif name in _TUPLES:
            self.stack.append(tuple(self._taken(_TUPLES[name])))
        elif name not in _IGNORED:
            if name not in _OPCODES:
                raise ValueError(f"its pickle has the opcode {name}")
            _OPCODES[name](self, argument)

    def _taken(self, count: int) -> list[Any]:
        """Remove and return the last values of the stack."""
        if count > len(self.stack):
            raise IndexError
        place = len(self.stack) - count
        taken = self.stack[place:]
        del self.stack[place:]
        return taken

    def _marked(self) -> list[Any]:
        """Remove and return the values behind the last mark, and the mark."""
        values: list[Any] = []
        while not isinstance(value := self.stack.pop(), _Mark):
            values.append(value)
        return values[::-1]

    def _mark(self, _: Any) -> None:
        self.stack.append(_Mark())

    def _memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _empty_dict(self, _: Any) -> None:
        self.stack.append({})

    def _empty_list(self, _: Any) -> None:
        self.stack.append([])

    def _tuple(self, _: Any) -> None:
        self.stack.append(tuple(self._marked()))

    def _list(self, _: Any) -> None:
        self.stack.append(self._marked())

    def _dict(self, _: Any) -> None:
        self.stack.append(_pairs(self._marked()))

    def _append(self, _: Any) -> None:
        self._extend([self.stack.pop()])

    def _appends(self, _: Any) -> None:
        self._extend(self._marked())

    def _extend(self, values: list[Any]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(values)

    def _setitem(self, _: Any) -> None:
        self._update(self._taken(2))

    def _setitems(self, _: Any) -> None:
        self._update(self._marked())

    def _update(self, values: list[Any]) -> None:
        if isinstance(self.stack[-1], dict):
            self.stack[-1].update(_pairs(values))

    def _global(self, argument: str) -> None:
        self.stack.append(Global(argument.replace(" ", ".")))

    def _stack_global(self, _: Any) -> None:
        module, name = self._taken(2)
        if not (isinstance(module, str) and isinstance(name, str)):
            raise TypeError
        self.stack.append(Global(f"{module}.{name}"))

    def _persistent(self, _: Any) -> None:
        value = self.stack.pop()
        if value[0] == "storage":
            _, kind, key = value[:3]
            if not isinstance(key, _KEYS):
                raise TypeError
            value = Storage(kind.name, str(key))
        elif value[0] == "module":
            value = value[1]
        self.stack.append(value)

    def _reduce(self, _: Any) -> None:
        function, arguments = self._taken(2)
        name = function.name if isinstance(function, Global) else ""
        self.stack.append(_CALLS[name](*arguments) if name in _CALLS else Instance(name))

    def _new(self, _: Any) -> None:
        kind, _ = self._taken(2)
        self.stack.append(Instance(kind.name if isinstance(kind, Global) else ""))

    def _build(self, _: Any) -> None:
        made, attributes = self._taken(2)
        if isinstance(made, Instance) and isinstance(attributes, dict):
            made.attributes = attributes
        self.stack.append(made)


def _pairs(values: list[Any]) -> dict[Any, Any]:
    """Return a dictionary of keys and values in turn; those with other keys than texts and integers are left out."""
    pairs = zip(values[::2], values[1::2], strict=True)
    return {key: value for key, value in pairs if isinstance(key, _KEYS)}


def _ordered(pairs: Any = ()) -> dict[Any, Any]:
    return _pairs([value for pair in pairs for value in pair])


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> TensorView:
    if not isinstance(storage, Storage):
        raise TypeError
    return TensorView(storage, int(offset), tuple(map(int, size)), tuple(map(int, stride)))


def _parameter(data: Any, *_: Any) -> Any:
    return data


_CALLS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch.nn.parameter.Parameter": _parameter,
}
_OPCODES: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine._mark,
    "MEMOIZE": _Machine._memoize,
    "EMPTY_DICT": _Machine._empty_dict,
    "EMPTY_LIST": _Machine._empty_list,
    "TUPLE": _Machine._tuple,
    "LIST": _Machine._list,
    "DICT": _Machine._dict,
    "APPEND": _Machine._append,
    "APPENDS": _Machine._appends,
    "SETITEM": _Machine._setitem,
    "SETITEMS": _Machine._setitems,
    "GLOBAL": _Machine._global,
    "STACK_GLOBAL": _Machine._stack_global,
    "BINPERSID": _Machine._persistent,
    "REDUCE": _Machine._reduce,
    "NEWOBJ": _Machine._new,
    "BUILD": _Machine._build,
}
