"""Runs a pickle's opcodes in bounded memory: only those that make dicts, strings and numbers.

Python's own unpickler reserves memory for any count that a pickle names: nine bytes can ask for
gigabytes. Here every opcode takes little memory, and the number of opcodes is limited.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import Any

from wavemill.errors import DatasetError

MOST_OPCODES = 2**20  # a recording takes about 28
_MOST_ITEMS = 16  # in a tuple; NumPy's pickled states have nine

_IGNORED = frozenset({"PROTO", "FRAME"})
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = frozenset({
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
})  # fmt: skip
_MARK = object()

FindName = Callable[[str, str], object]


class PickleMachine:
    """An unpickler. `find_name` returns the object for (module, name), or raises."""

    def __init__(self, find_name: FindName) -> None:
        self._find_name = find_name
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._opcodes = self._table()

    def run(self, data: bytes) -> object:
        """Return the object in a pickle. A damaged pickle raises ValueError or other exceptions."""
        for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            if count >= MOST_OPCODES:
                raise ValueError(f"expected at most {MOST_OPCODES} opcodes")
            self._step(opcode.name, argument)
        return self._stack.pop()

    def _step(self, name: str, argument: Any) -> None:
        if name in _LITERALS:
            self._stack.append(argument)
        elif name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name])
        elif name in self._opcodes:
            self._opcodes[name](argument)
        elif name != "STOP" and name not in _IGNORED:
            raise ValueError(f"its opcode {name} is refused")

    def _table(self) -> dict[str, Callable[[Any], None]]:
        table: dict[str, Callable[[Any], None]] = {
            "MARK": lambda _: self._stack.append(_MARK),
            "EMPTY_DICT": lambda _: self._stack.append({}),
            "EMPTY_LIST": lambda _: self._stack.append([]),
            "LIST": lambda _: self._stack.append(self._pop_to_mark()),
            "APPEND": lambda _: self._extend(self._pop(1)),
            "APPENDS": lambda _: self._extend(self._pop_to_mark()),
            "EMPTY_TUPLE": lambda _: self._stack.append(()),
            "TUPLE": lambda _: self._push_tuple(self._pop_to_mark()),
            "TUPLE1": lambda _: self._push_tuple(self._pop(1)),
            "TUPLE2": lambda _: self._push_tuple(self._pop(2)),
            "TUPLE3": lambda _: self._push_tuple(self._pop(3)),
            "DICT": lambda _: self._make_dict(),
            "SETITEM": lambda _: self._set_items(self._pop(2)),
            "SETITEMS": lambda _: self._set_items(self._pop_to_mark()),
            "MEMOIZE": lambda _: self._remember(len(self._memo)),
            "GLOBAL": lambda argument: self._push_name(*argument.split(" ", 1)),
            "STACK_GLOBAL": lambda _: self._push_name(*self._pop(2)),
            "INST": lambda argument: self._push_name(
                *argument.split(" ", 1)
            ),  # the name is refused, or is of no use because it is not called
            "REDUCE": lambda _: self._call(*self._pop(2)),
            "BUILD": lambda _: self._set_state(self._stack.pop()),
        }
        table |= dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), self._remember)
        table |= dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda index: self._stack.append(self._memo[index]))
        return table

    def _pop(self, count: int) -> list[Any]:
        items = self._stack[-count:]
        if len(items) < count:
            raise ValueError("it takes more from its stack than the stack holds")
        del self._stack[-count:]
        return items

    def _pop_to_mark(self) -> list[Any]:
        items: list[Any] = []
        while (item := self._stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]

    def _push_tuple(self, items: list[Any]) -> None:
        if len(items) > _MOST_ITEMS or any(isinstance(item, tuple) for item in items):
            raise ValueError(f"expected tuples of at most {_MOST_ITEMS} plain values")
        self._stack.append(tuple(items))

    def _extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, list):
            raise TypeError("expected a list")
        target += items

    def _make_dict(self) -> None:
        items = self._pop_to_mark()
        self._stack.append({})
        self._set_items(items)

    def _set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise ValueError("expected keys and values of a dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str):
                raise DatasetError(f"expected paths as keys, received {type(key).__name__}")
            target[key] = value

    def _remember(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    def _push_name(self, module: object, name: object) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise TypeError("expected strings as a name")
        self._stack.append(self._find_name(module, name))

    def _call(self, function: object, arguments: object) -> None:
        if not callable(function) or not isinstance(arguments, tuple):
            raise TypeError("expected a function and its arguments")
        self._stack.append(function(*arguments))

    def _set_state(self, state: object) -> None:
        target = self._stack[-1]
        if not hasattr(target, "__setstate__"):
            raise ValueError("expected a number's type with its state")
        target.__setstate__(state)
