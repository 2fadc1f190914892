"""`replay`: make the execution of a reproducer come again."""

import argparse
import json

from anonvma_rt.cli.report import replay_report, world_report
from anonvma_rt.cli.verbs.common import AS_EXPECTED, NOT_AS_EXPECTED, about_file, read_file, whole, width
from anonvma_rt.execution.reproducer import replay

ABOUT = "make the execution of a reproducer come again"


def add(parser: argparse.ArgumentParser) -> None:
    about_file(parser)
    parser.add_argument("--times", type=whole("--times"), default=1, metavar="N", help="how often (default 1)")
    parser.add_argument(
        "--until", type=whole("--until"), metavar="STEP", help="stop before that step and print the state"
    )
    parser.add_argument("--full", action="store_true", help="every point in the table, not only what matters")


def run(options: argparse.Namespace) -> int:
    reproducer = read_file(options)
    replayed = replay(reproducer, options.times, options.until)
    try:
        if options.json:
            fields = ("times", "reproduced", "kind", "steps", "switches", "same_trace")
            print(json.dumps({name: getattr(replayed, name) for name in fields}))
        else:
            print(replay_report(reproducer, replayed, width(), full=options.full))
            if options.until is not None:
                print(world_report(replayed))
    finally:
        replayed.explorer.close()
    return AS_EXPECTED if replayed.reproduced == replayed.times else NOT_AS_EXPECTED
