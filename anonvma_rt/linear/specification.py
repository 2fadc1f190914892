"""A sequential specification as a Python class: one method for each operation, its state in attributes.

    class Queue:
        def __init__(self):
            self.items = []

        def push(self, x):
            self.items.append(x)

        def pop(self):
            return self.items.pop(0) if self.items else None

The class is code, and is run only where the user has named its file, or hands it over.
"""

import copy
import hashlib
import importlib.util
import inspect
import sys
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from anonvma_rt.errors import UserError, nearest, quote
from anonvma_rt.linear.checker import Entry, Machine, Model, first_wrong, smallest
from anonvma_rt.linear.words import intervals

__all__ = ["Linear", "PythonModel", "Specification", "of_class", "of_file", "specified"]


@dataclass(frozen=True)
class Specification:
    """name: how it was named, without folders; digest: of its file; make: a Model of it. where: how a command names it,
    "" where none can."""

    name: str
    digest: str
    make: Callable[[], Model] = field(compare=False)
    where: str = field(default="", compare=False)


def specified(spec: str | type | Specification) -> Specification:
    """What is a specification, or names one. Raises UserError."""
    if isinstance(spec, Specification):
        return spec
    return of_file(spec) if isinstance(spec, str) else of_class(spec)


def of_file(text: str) -> Specification:
    """The class that is named "file.py:Class". Runs the file. Raises UserError.

    >>> of_file("nowhere.py:Queue")
    Traceback (most recent call last):
    ...
    anonvma_rt.errors.UserError: --spec "nowhere.py:Queue": there is no file "nowhere.py"
    """
    where = f"--spec {quote(text)}"
    file, colon, name = text.rpartition(":")
    if not colon or not file.endswith(".py") or not name.isidentifier():
        raise UserError(f"{where}: a specification is named file.py:Class, or it is a file.c")
    path = Path(file)
    if not path.is_file():
        raise UserError(f"{where}: there is no file {quote(file)}")
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    module = f"anonvma_rt_specification_{digest[:16]}"
    if module not in sys.modules:
        made = importlib.util.spec_from_file_location(module, path)
        assert made is not None and made.loader is not None
        sys.modules[module] = importlib.util.module_from_spec(made)
        try:
            made.loader.exec_module(sys.modules[module])
        except BaseException as error:
            del sys.modules[module]
            if isinstance(error, KeyboardInterrupt):
                raise
            raise UserError(f"{where}: {path.name} cannot be run: {type(error).__name__}: {error}") from error
    cls = getattr(sys.modules[module], name, None)
    if not isinstance(cls, type):
        there = [key for key, value in vars(sys.modules[module]).items() if isinstance(value, type)]
        raise UserError(f"{where}: {path.name} has no class {quote(name)}{nearest(name, there)}")
    return _of(cls, f"{path.name}:{name}", digest, text)


def of_class(cls: Any) -> Specification:
    """A class that is handed over. Raises UserError."""
    if not isinstance(cls, type):
        raise UserError(f"a specification is a class, not {quote(repr(cls))}")
    try:
        path = Path(inspect.getfile(cls))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except (OSError, TypeError):
        path = Path()
    if path.suffix != ".py":
        # It was typed in, or is compiled beside a subject: nothing else is there that a reproducer could know.
        return _of(cls, f"{cls.__module__}:{cls.__qualname__}", "", "")
    return _of(cls, f"{path.name}:{cls.__qualname__}", digest, f"{path}:{cls.__qualname__}")


def _of(cls: type, name: str, digest: str, where: str) -> Specification:
    """Raises UserError where not even its first state can be made."""
    found = Specification(name, digest, lambda: PythonModel(cls, name), where if ".<locals>" not in where else "")
    Machine(found.make())
    return found


class PythonModel:
    """A class as a Model: a state is an object of it, which is copied for each step. `key()`, if the class has it, is
    what tells states apart; else it is all attributes."""

    def __init__(self, cls: type, name: str) -> None:
        self.cls, self.name = cls, name
        self.known: dict[tuple[str, bool], str] = {}

    def begin(self) -> Any:
        try:
            return self.cls()
        except Exception as error:
            raise UserError(f"{self.name}: it cannot be made without arguments: {_said(error)}") from error

    def apply(self, state: Any, name: str, argument: int | None) -> tuple[int | None, Any]:
        if (problem := self.known.get((name, argument is None))) is None:
            problem = self.known[name, argument is None] = self.problem(name, argument)
        if problem:
            raise UserError(problem)
        try:
            then = copy.deepcopy(state)
            method = getattr(then, name)
            value = method() if argument is None else method(argument)
        except Exception as error:
            raise UserError(f"{self.name}: {_call(name, argument)} raised {_said(error)}") from error
        if value is not None and not isinstance(value, int):
            raise UserError(
                f"{self.name}: {_call(name, argument)} returned {quote(repr(value))}: the value of an operation is a "
                "whole number, or None where it has none"
            )
        return (None if value is None else int(value)), then

    def problem(self, name: str, argument: int | None) -> str:
        """What is wrong with a call of that name, "" for nothing."""
        if name == "key" or name.startswith("_") or not callable(getattr(self.cls, name, None)):
            there = [key for key, value in vars(self.cls).items() if callable(value) and key[:1] != "_"]
            return f"{self.name} has no method {quote(name)}, which is called here{nearest(name, there)}"
        try:
            inspect.signature(getattr(self.cls, name)).bind(*([None] if argument is None else [None, argument]))
        except TypeError:
            return (
                f"{self.name}: {name}() {'needs an argument' if argument is None else 'takes no argument'}, and "
                f"{_call(name, argument)} is called here"
            )
        return ""

    def key(self, state: Any) -> Hashable:
        try:
            own = getattr(state, "key", None)
            found: Hashable = own() if callable(own) else _frozen(vars(state))
            hash(found)
        except Exception as error:
            raise UserError(
                f"{self.name}: its states cannot be told apart: {_said(error)}; a method key() may return what can"
            ) from error
        return found


def _frozen(value: Any) -> Hashable:
    """Something hashable that is equal for equal values."""
    if value is None or isinstance(value, int | float | str | bytes):
        return value
    if isinstance(value, list | tuple | deque):
        return (type(value).__name__, *map(_frozen, value))
    if isinstance(value, dict):
        return ("dict", *((_frozen(key), _frozen(one)) for key, one in value.items()))
    if isinstance(value, set | frozenset):
        return frozenset(map(_frozen, value))
    if hasattr(value, "__dict__"):
        return (type(value).__qualname__, _frozen(vars(value)))
    raise TypeError(f"an attribute is {quote(repr(value))}")


def _call(name: str, argument: int | None) -> str:
    return f"{name}({'' if argument is None else argument})"


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


class Linear:
    """A judge of histories (engine/calls): whether they are linearizable. Explorers may share one."""

    def __init__(self, specification: Specification) -> None:
        self.specification = specification
        self.machine = Machine(specification.make())
        self.lock = Lock()
        # Histories that were judged, by all who share it: those that somebody had judged before are not.
        self.asked = 0

    def check(self, history: Sequence[Entry]) -> int | None:
        with self.lock:
            self.asked += 1
            return first_wrong(history, self.machine)

    def never_asked(self, how: str) -> str:
        """Why nothing was compared, in words: no operation was called; "" where one was. how: what calls one."""
        return (
            ""
            if self.asked
            else f"it called no operation ({how}), so nothing was compared with {self.specification.name}"
        )

    def why(self, history: Sequence[Entry], tasks: Sequence[str]) -> str:
        """In words, with the smallest history in which it shows: a sentence, and a line for each operation."""
        with self.lock:
            small = smallest(history, self.machine)
        lines = [f"No order of these operations gives these results in {self.specification.name}:"]
        return "\n".join([*lines, *(f"  {line}" for line in intervals(small, tasks))])
