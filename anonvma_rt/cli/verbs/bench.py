"""`bench`: what executions, points, locks and lists cost here, as ratios from one interleaved run."""

import argparse
import json
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from tqdm import tqdm

from anonvma_rt.cli.verbs.common import AS_EXPECTED, INTERRUPTED, NOT_AS_EXPECTED, whole
from anonvma_rt.errors import UserError, nearest, quote

ABOUT = "what executions, points, locks and lists cost here, as ratios from one interleaved run"
# Name: the module of anonvma_rt.stress.bench. What takes minutes is done only where it is named.
BENCHMARKS = {
    "order": "order", "dpor": "dpor", "lists": "lists", "locks": "locks", "points": "points", "lkml-2011": "lkml",
    "jobs": "jobs", "search": "search", "zoo": "zoo", "campaign": "campaign",
    "scaling": "scaling",
}  # fmt: skip
LONG = ("search", "zoo", "campaign", "scaling")
MOST = {"rounds": 10_000, "executions": 1_000_000_000, "seeds": 10_000}


def add(parser: argparse.ArgumentParser) -> None:
    usual = [name for name in BENCHMARKS if name not in LONG]
    parser.add_argument(
        "name",
        nargs="*",
        metavar="NAME",
        help=f"{', '.join(usual)} (the default: all of these), or {', '.join(LONG)}, which take minutes",
    )
    parser.add_argument(
        "--rounds", type=whole("--rounds"), default=7, metavar="N", help="measurements of each (default %(default)s)"
    )
    parser.add_argument(
        "--executions",
        type=whole("--executions"),
        default=50_000,
        metavar="N",
        help="of each cell of `search` (default %(default)s)",
    )
    parser.add_argument(
        "--seeds", type=whole("--seeds"), default=20, metavar="N", help="of `zoo` (default %(default)s)"
    )


def run(options: argparse.Namespace) -> int:
    for name in options.name:
        if name not in BENCHMARKS:
            raise UserError(f"unknown benchmark {quote(name)}{nearest(name, BENCHMARKS)}")
    for option, most in MOST.items():
        if not 1 <= getattr(options, option) <= most:
            raise UserError(f"--{option} must be from 1 to {most}, not {getattr(options, option)}")
    if find_spec("anonvma_rt.stress") is None:
        raise UserError("bench needs the whole package: run `python -m pip install -e .` in the checkout")
    # Benchmarks are no part of what a user of the library imports.
    measure = import_module("anonvma_rt.stress.bench.measure")
    done: dict[str, Any] = {}
    code = AS_EXPECTED
    with tqdm(unit="", bar_format="{desc}", delay=0, disable=None, file=sys.stderr, leave=False) as bar:
        how = measure.Options(options.rounds, options.executions, options.seeds, bar.set_description_str)
        try:
            for name in options.name or [name for name in BENCHMARKS if name not in LONG]:
                bench = import_module(f"anonvma_rt.stress.bench.{BENCHMARKS[name]}")
                try:
                    done[name] = bench.run(how)
                except UserError as error:
                    if options.name:
                        raise
                    print(f"anonvma-rt: {name} is left out: {error}", file=sys.stderr)
                    continue
                if not options.json:
                    bar.clear()
                    print(("\n" if len(done) > 1 else "") + bench.text(done[name]), flush=True)
        except KeyboardInterrupt:
            code = INTERRUPTED
        except measure.Untrue as error:
            print(f"anonvma-rt: no figures, because this is not so: {error}", file=sys.stderr)
            code = NOT_AS_EXPECTED
    if options.json:
        print(json.dumps({"benchmarks": done}))
    return code
