"""`kernel`: the program of 2011 on this host's own kernel."""

import argparse

from anonvma_rt.cli.verbs.common import whole
from anonvma_rt.stress.kernel.run import run_kernel_program

ABOUT = "the program of 2011 on this host's own kernel; needs root and a C compiler"


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--mode", choices=("shot", "compaction"), help="who migrates (default: the first that this host allows)"
    )
    parser.add_argument("--seconds", metavar="T", help="how long (default 10)")
    parser.add_argument(
        "--pages", type=whole("--pages"), metavar="N", help="pages that move (default 64, in mode compaction 2048)"
    )
    parser.add_argument(
        "--megabytes", type=whole("--megabytes"), metavar="N", help="memory of mode compaction (default 64)"
    )


def run(options: argparse.Namespace) -> int:
    names = ("mode", "seconds", "pages", "megabytes")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    words = [f"--{name}={value}" for name, value in given.items()]
    return run_kernel_program([*words, "--json"] if options.json else words)
