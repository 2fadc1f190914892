"""What the verbs share: exit codes, options that several of them take, and the width of the terminal."""

import argparse
import re
import shutil
from collections.abc import Callable, Sequence
from typing import Any

from anonvma_rt.engine.strategy.base import Strategy
from anonvma_rt.engine.strategy.python import PyStrategy
from anonvma_rt.errors import UserError
from anonvma_rt.execution.reproducer import Reproducer
from anonvma_rt.kernel.algorithm import Algorithm
from anonvma_rt.kernel.failing import ALLOCATIONS
from anonvma_rt.lab.lab import STRATEGIES, load, with_values
from anonvma_rt.mm.ordering import Rule
from anonvma_rt.own.gate import import_class, is_own, must_be_checked
from anonvma_rt.own.subject import subject
from anonvma_rt.search.hunt import DEFAULT_SCENARIO
from anonvma_rt.subjects.protocols import Choice, Described

__all__ = [
    "AS_EXPECTED",
    "BAD_INPUT",
    "INTERRUPTED",
    "NOT_AS_EXPECTED",
    "about_file",
    "about_scenario",
    "fail_alloc",
    "out",
    "own_code",
    "read_file",
    "the_algorithms",
    "the_scenario",
    "the_strategy",
    "whole",
    "width",
]

AS_EXPECTED, NOT_AS_EXPECTED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


def whole(option: str) -> Callable[[str], int]:
    """The type of an option that takes a whole number; a wrong one is named with its option."""

    def parse(text: str) -> int:
        try:
            return int(text.replace("_", ""), 0)
        except ValueError:
            raise UserError(f'{option} must be a whole number, not "{text}"') from None

    return parse


def width() -> int:
    """Columns of the terminal; 110 where there is none."""
    return shutil.get_terminal_size((110, 24)).columns


def about_scenario(parser: argparse.ArgumentParser, parameter: str, algorithm: str) -> None:
    """The options that say what is explored."""
    parser.add_argument(
        "scenario",
        nargs="?",
        metavar="SCENARIO",
        help="a built-in scenario or litmus test, a TOML file, or a compiled subject of your own, module:Class "
        f"(default {DEFAULT_SCENARIO})",
    )
    parser.add_argument("-p", dest="parameter", metavar="NAME=VALUE", action="append", default=[], help=parameter)
    parser.add_argument("--algorithm", action="append", metavar="A", help=algorithm)


def the_scenario(name: str | None) -> Described:
    """What a user named on the command line; a subject of the user's own is imported."""
    name = name or DEFAULT_SCENARIO
    return subject(name) if is_own(name) else load(name)


def the_algorithms(names: Sequence[str] | None) -> list[Choice | str] | None:
    """What a user named on the command line; a rule of the user's own (`rule=module:Class`) is imported."""
    if names is None:
        return None
    chosen: list[Choice | str] = []
    for name in names:
        found = re.search(r",\s*rule\s*=\s*([\w.:]+)", name)
        chosen.append(Algorithm.parse(name, [_rule(found[1])]) if found else name)
    return chosen


def _rule(name: str) -> Rule:
    cls = import_class(name, Rule, "rule")
    must_be_checked(cls, "rule")
    return cls()


def the_strategy(text: str | None) -> Strategy | str | None:
    """What a user named on the command line; a strategy of the user's own, `module:Class:parameter=value`, is
    imported."""
    if text is None:
        return None
    name, _, rest = text.partition(":")
    cls_name, _, values = rest.partition(":")
    if name in STRATEGIES or not is_own(f"{name}:{cls_name}"):
        return text
    cls = import_class(f"{name}:{cls_name}", Strategy, "strategy")
    if not issubclass(cls, PyStrategy):
        must_be_checked(cls, "strategy")
    return with_values(cls, f"{name}:{cls_name}", values)


def about_file(parser: argparse.ArgumentParser) -> None:
    """A reproducer, and the user's own code that it may use."""
    parser.add_argument("file", metavar="FILE", help="a reproducer that a hunt saved")
    parser.add_argument(
        "--subject",
        action="append",
        metavar="module:Class",
        default=[],
        help="a subject of your own that FILE may use: nothing in a file can make the lab import code",
    )
    parser.add_argument(
        "--rule", action="append", metavar="module:Class", default=[], help="a rule of your own that FILE may use"
    )


def own_code(options: argparse.Namespace) -> list[Any]:
    """The code that the user lets FILE use."""
    return [*(subject(name) for name in options.subject), *(_rule(name) for name in options.rule)]


def read_file(options: argparse.Namespace) -> Reproducer:
    """The reproducer of about_file()."""
    return Reproducer.load(options.file, own_code(options))


def out(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument(
        "--out", default="reproducers", metavar="DIR", help=f"where {what} are saved (default %(default)s/)"
    )


def fail_alloc(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--fail-alloc",
        metavar="RATE[:KIND,...]",
        help=f"allocations fail with this probability, 0 to 1; kinds: {', '.join(ALLOCATIONS)} (default: all of them)",
    )
