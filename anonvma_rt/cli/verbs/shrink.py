"""`shrink`: make the execution of a reproducer as small as it can be."""

import argparse
import json
import sys

from tqdm import tqdm

from anonvma_rt.cli.report import shrink_report
from anonvma_rt.cli.verbs.common import AS_EXPECTED, INTERRUPTED, NOT_AS_EXPECTED, about_file, own_code, whole, width
from anonvma_rt.shrinking.shrink import DEFAULT_BUDGET, ShrinkInterrupted, shrink, smaller_name

ABOUT = "make a failing execution minimal: few switches, small parameters"


def add(parser: argparse.ArgumentParser) -> None:
    about_file(parser)
    parser.add_argument(
        "-o", dest="out", metavar="FILE", help="where the smaller one is saved (default: beside it, -min in its name)"
    )
    parser.add_argument(
        "--keep", metavar="NAME", action="append", default=[], help="a parameter that stays as it is; may be repeated"
    )
    parser.add_argument(
        "--budget",
        type=whole("--budget"),
        default=DEFAULT_BUDGET,
        metavar="N",
        help="executions that one search may make; there are a few searches per parameter (default %(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    interrupted = False
    with tqdm(unit="exec", delay=1, disable=None, file=sys.stderr, leave=False) as bar:
        try:
            result = shrink(
                options.file,
                options.out or smaller_name(options.file),
                options.keep,
                options.budget,
                progress=bar.update,
                own=own_code(options),
            )
        except ShrinkInterrupted as interruption:
            result, interrupted = interruption.result, True
    print(json.dumps(result.as_dict()) if options.json else shrink_report(result, width()))
    if result.unsaved:
        print(f"anonvma-rt: {result.unsaved}", file=sys.stderr)
    if interrupted:
        return INTERRUPTED
    return AS_EXPECTED if result.confirmed == result.replays and not result.unsaved else NOT_AS_EXPECTED
