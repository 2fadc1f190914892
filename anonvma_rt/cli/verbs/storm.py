"""`storm`: all tasks at once, under seeded chaos."""

import argparse
from functools import partial

from anonvma_rt.cli import options as opt
from anonvma_rt.cli.ending import collect, conclude_results, progress_bar, show_progress, width
from anonvma_rt.cli.report import storm_report
from anonvma_rt.storming.delays import DELAYS
from anonvma_rt.storming.storm import DEFAULT_SECONDS, storm

OPTIONS = (
    opt.SCENARIO,
    opt.PARAMETER,
    opt.ALGORITHM,
    opt.number("--seconds", "T", "for each algorithm (default %(default)g)", default=DEFAULT_SECONDS),
    opt.SEED,
    opt.several(
        "--profile", "P", f"NAME or NAME:parameter=value, of {', '.join(DELAYS)}; may be repeated (default: all)"
    ),
    opt.Option(
        "--record",
        {
            "action": argparse.BooleanOptionalAction,
            "default": True,
            "help": "keep logs and replay what was found; costs a shared counter at each point (default: yes)",
        },
    ),
    opt.FAIL_ALLOC,
    opt.OUT,
)


def run(options: argparse.Namespace) -> int:
    hits = 0
    with progress_bar(delay=0) as bar:
        show = show_progress(bar)

        def progress(algorithm: str, executions: int, violations: int) -> None:
            nonlocal hits
            hits += violations
            bar.set_postfix(violations=hits, refresh=False)
            show(algorithm, executions)

        call = partial(
            storm,
            opt.the_scenario(options),
            options.parameter,
            options.algorithm,
            seconds=options.seconds,
            seed=options.seed,
            profiles=options.profile,
            record=options.record,
            out=options.out,
            progress=progress,
            fail_alloc=options.fail_alloc,
        )
        found, interrupted = collect([call])
    return conclude_results(options, found, lambda result: storm_report(result, width()), interrupted=interrupted)


VERBS = {"storm": opt.Verb(OPTIONS, run)}
