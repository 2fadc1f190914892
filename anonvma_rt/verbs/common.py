"""What the verbs share: exit codes, options that several of them take, and the width of the terminal."""

import argparse
import shutil
from collections.abc import Callable

from anonvma_rt.errors import UserError
from anonvma_rt.failing import ALLOCATIONS
from anonvma_rt.hunt import DEFAULT_SCENARIO

__all__ = [
    "AS_EXPECTED",
    "BAD_INPUT",
    "INTERRUPTED",
    "NOT_AS_EXPECTED",
    "about_scenario",
    "fail_alloc",
    "out",
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
        help=f"a built-in scenario or litmus test, or a TOML file (default {DEFAULT_SCENARIO})",
    )
    parser.add_argument("-p", dest="parameter", metavar="NAME=VALUE", action="append", default=[], help=parameter)
    parser.add_argument("--algorithm", action="append", metavar="A", help=algorithm)


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
