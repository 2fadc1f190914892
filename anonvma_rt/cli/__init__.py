"""The command line: finds the verb, runs it, and turns whatever went wrong into an exit code and one line.

Results go to stdout and progress to stderr. Exit codes: 0 every answer is the expected one, 1 it is not, 2 bad input in
one line, 130 interrupted with what was found printed and saved. What a verb takes and prints is in verbs/.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from anonvma_rt import __version__
from anonvma_rt.cli.verbs import bench, campaign, hunt, kernel, list, replay, show, shrink, step, storm, verify
from anonvma_rt.cli.verbs.common import BAD_INPUT, INTERRUPTED
from anonvma_rt.errors import UserError

__all__ = ["main"]

VERBS = {
    "list": list,
    "hunt": hunt,
    "verify": verify,
    "replay": replay,
    "storm": storm,
    "shrink": shrink,
    "show": show,
    "step": step,
    "campaign": campaign,
    "bench": bench,
    "kernel": kernel,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line (sys.argv by default) and returns its exit code."""
    try:
        options = _parser().parse_args(arguments)
        code = int(options.run(options))
        sys.stdout.flush()
        return code
    except UserError as error:
        print(f"anonvma-rt: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("anonvma-rt: interrupted", file=sys.stderr)
        return INTERRUPTED
    except MemoryError as error:
        print(f"anonvma-rt: out of memory: {error or 'choose smaller parameters'}", file=sys.stderr)
        return BAD_INPUT
    except BrokenPipeError:
        # Whoever reads has read enough; Python must not fail again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


class _Parser(argparse.ArgumentParser):
    """argparse, but a wrong option is one line like any other bad input."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; {self.prog} --help says what there is")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="anonvma-rt",
        description="A race laboratory for Linux's reverse map of anonymous memory: real OS threads, every "
        "interleaving decided from a seed.",
        epilog="Exit codes: 0 as expected, 1 not as expected, 2 bad input, 130 interrupted.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"anonvma-rt {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for name, verb in VERBS.items():
        added = verbs.add_parser(name, help=verb.ABOUT, description=verb.ABOUT, allow_abbrev=False)
        added.set_defaults(run=verb.run)
        added.add_argument("--json", action="store_true", help="print one JSON object and nothing else on stdout")
        verb.add(added)
    return parser
