"""What this machine is good for: `bench` measures what the lab costs here, and `kernel` runs the program of 2011 on the
host's own kernel. Both run what is in stress/, which no other verb needs."""

import argparse
import json
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from anonvma_rt.cli import options as opt
from anonvma_rt.cli.ending import AS_EXPECTED, INTERRUPTED, NOT_AS_EXPECTED, complain, flush, progress_bar, say
from anonvma_rt.errors import UserError, nearest, quote

# Name: the module of anonvma_rt.stress. What takes minutes is done only where it is named.
BENCHMARKS = {
    "order": "bench.order", "dpor": "bench.dpor", "lists": "bench.lists", "locks": "bench.locks",
    "order-c": "bench.order_c", "points": "bench.points", "lkml-2011": "bench.lkml", "jobs": "bench.jobs",
    "search": "search.table", "pages": "bench.pages", "zoo": "bench.zoo", "campaign": "bench.campaign",
    "scaling": "scaling.experiment",
}  # fmt: skip
LONG = ("search", "pages", "zoo", "campaign", "scaling")
USUAL = [name for name in BENCHMARKS if name not in LONG]
MOST = {"rounds": 10_000, "executions": 1_000_000_000, "seeds": 10_000, "limit": 1_000_000_000, "jobs": 1024}

LONGEST = 1e6


def _bench(options: argparse.Namespace) -> int:
    for name in options.name:
        if name not in BENCHMARKS:
            raise UserError(f"unknown benchmark {quote(name)}{nearest(name, BENCHMARKS)}")
    for name, most in MOST.items():
        if not 1 <= getattr(options, name) <= most:
            raise UserError(f"--{name} must be from 1 to {most}, not {getattr(options, name)}")
    if not 0 < options.seconds <= LONGEST:
        raise UserError(f"--seconds must be more than 0 and at most {LONGEST:.0f}, not {options.seconds:g}")
    if find_spec("anonvma_rt.stress") is None:
        raise UserError("bench needs the whole package: run `python -m pip install -e .` in the checkout")
    # Benchmarks are no part of what a user of the library imports.
    measure = import_module("anonvma_rt.stress.bench.measure")
    done: dict[str, Any] = {}
    code = AS_EXPECTED
    with progress_bar(unit="", bar_format="{desc}", delay=0) as bar:
        how = measure.Options(
            options.rounds, options.executions, options.seeds, bar.set_description_str, options.limit, options.seconds,
            options.jobs, tuple(options.strategies), tuple(options.subjects), options.sctbench,
        )  # fmt: skip
        try:
            for name in options.name or USUAL:
                bench = import_module(f"anonvma_rt.stress.{BENCHMARKS[name]}")
                try:
                    done[name] = bench.run(how)
                except UserError as error:
                    if options.name:
                        raise
                    complain(f"{name} is left out: {error}")
                    continue
                if not options.json:
                    bar.clear()
                    say(("\n" if len(done) > 1 else "") + bench.text(done[name]))
                    flush()
        except KeyboardInterrupt:
            code = INTERRUPTED
        except measure.Untrue as error:
            complain(f"no figures, because this is not so: {error}")
            code = NOT_AS_EXPECTED
    if options.json:
        say(json.dumps({"benchmarks": done}))
    return code


def _kernel(options: argparse.Namespace) -> int:
    from anonvma_rt.stress.kernel.run import run_kernel_program

    names = ("mode", "seconds", "pages", "megabytes")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    words = [f"--{name}={value}" for name, value in given.items()]
    return run_kernel_program([*words, "--json"] if options.json else words)


VERBS = {
    "bench": opt.Verb(
        (
            opt.option(
                "name",
                "NAME",
                f"{', '.join(USUAL)} (the default: all of these), or {', '.join(LONG)}, which take minutes",
                nargs="*",
            ),
            opt.whole("--rounds", "N", "measurements of each (default %(default)s)", default=7),
            opt.whole("--executions", "N", "of each cell of `pages` (default %(default)s)", default=50_000),
            opt.whole("--seeds", "N", "of `search` and `zoo` (default %(default)s)", default=20),
            opt.whole("--limit", "N", "of `search`: executions with each seed (default %(default)s)", default=10_000),
            opt.number(
                "--seconds",
                "T",
                "of `search`: the most that all strategies together may take for a row (default %(default)s)",
                default=60.0,
            ),
            opt.whole("--jobs", "J", "of `search`: rows at a time (default 1)", default=1),
            opt.option("--strategies", "NAME", "of `search` (default: all)", nargs="+", default=[]),
            opt.option(
                "--subjects",
                "NAME",
                "of `search`: zoo, litmus, sctbench, names or patterns of names (default: all)",
                nargs="+",
                default=[],
            ),
            opt.option("--sctbench", "PATH", "of `search`: a checkout of SCTBench, for its programs", type=Path),
        ),
        _bench,
    ),
    "kernel": opt.Verb(
        (
            opt.Option(
                "--mode",
                {
                    "choices": ("shot", "compaction"),
                    "help": "who migrates (default: the first that this host allows)",
                },
            ),
            opt.option("--seconds", "T", "how long (default 10)"),
            opt.whole("--pages", "N", "pages that move (default 64, in mode compaction 2048)"),
            opt.whole("--megabytes", "N", "memory of mode compaction (default 64)"),
        ),
        _kernel,
    ),
}
