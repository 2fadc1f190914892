"""The command line: finds the verb, runs it, and turns whatever went wrong into an exit code and one line.

What a verb takes and prints is in verbs/, its options are in options.py, and how it ends is in ending.py.
"""

import argparse
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from anonvma_rt import __version__
from anonvma_rt.cli.ending import BAD_INPUT, INTERRUPTED, MISTAKE, complain, drop_output, flush
from anonvma_rt.cli.verbs import VERBS, load_verb
from anonvma_rt.errors import UserError

if TYPE_CHECKING:
    from anonvma_rt.cli.options import Verb

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line (sys.argv by default) and returns its exit code."""
    try:
        words = list(sys.argv[1:] if arguments is None else arguments)
        options = _parser().parse_args(_joined(words))
        options.words = words
        for option in options.verb.options:
            option.take(options)
        flush()
        code = int(options.verb.run(options))
        flush()
        return code
    except UserError as error:
        complain(error)
        return BAD_INPUT
    except KeyboardInterrupt:
        complain("interrupted")
        return INTERRUPTED
    except MemoryError as error:
        complain(f"out of memory: {error or 'choose smaller parameters'}")
        return BAD_INPUT
    except BrokenPipeError:
        drop_output()  # whoever reads has read enough
        return 128 + signal.SIGPIPE
    except OSError as error:
        # Nothing that was asked is wrong: the machine has no descriptor, no thread or no room left.
        complain(f"the system refuses what is needed: {error}")
        return BAD_INPUT
    except Exception:
        # 1 is an answer, so what nobody foresaw needs another code.
        if sys.stderr is not None:
            traceback.print_exc()
        complain("this is a mistake in anonvma_rt, and no answer: please report it with the lines above")
        return MISTAKE


def _joined(words: Sequence[str]) -> list[str]:
    """Flags of a compiler begin with a dash, as options do: what follows --cflags is its value all the same."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] in ("--cflags", "--link", "--args"):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


class _Parser(argparse.ArgumentParser):
    """argparse, but a wrong option is one line like any other bad input."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see {self.prog} --help")


class _VerbParser(_Parser):
    """Gets its options when the verb was typed: to make them, the verb and all that it runs are imported."""

    verb: str | None = None

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if self.verb is not None:
            _add(self, load_verb(self.verb))
            self.verb = None
        return super().parse_known_args(args, namespace)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="anonvma-rt",
        description="A race laboratory for Linux's reverse map of anonymous memory: real OS threads, every "
        "interleaving decided from a seed.",
        epilog="Exit codes: 0 as expected, 1 not as expected, 2 bad input, 70 a mistake of the lab, 130 interrupted.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"anonvma-rt {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True, parser_class=_VerbParser)
    for name, (_, about) in VERBS.items():
        verbs.add_parser(name, help=about, description=about, allow_abbrev=False).verb = name
    return parser


def _add(parser: argparse.ArgumentParser, verb: "Verb", within: bool = False) -> None:
    """Gives the parser of a verb its options. within: of an action, where --json may stand before the action, too."""
    from anonvma_rt.cli.options import JSON

    for option in (JSON.but(default=argparse.SUPPRESS) if within else JSON, *verb.options):
        parser.add_argument(option.name, **option.how)
    parser.set_defaults(verb=verb)
    if verb.actions:
        actions = parser.add_subparsers(title="what to do", metavar="ACTION", required=True, parser_class=_Parser)
        for name, action in verb.actions.items():
            added = actions.add_parser(name, help=action.about, description=action.about, allow_abbrev=False)
            _add(added, action, within=True)
