"""`verify`: every class of interleavings once, which is a proof or a counterexample."""

import argparse
from functools import partial

from anonvma_rt.cli import options as opt
from anonvma_rt.cli.ending import collect, conclude_results, progress_bar, show_progress, width
from anonvma_rt.cli.report import verify_report
from anonvma_rt.errors import UserError
from anonvma_rt.lab.load import least_values
from anonvma_rt.search.class_count import Estimate
from anonvma_rt.search.verify import verify

LIMIT_OF_ALL = 200_000
OPTIONS = (
    opt.SCENARIO,
    *opt.PROGRAM,
    opt.PARAMETER.but(help="a parameter; keep it small"),
    opt.ALGORITHM,
    opt.ALL.but(help="every built-in scenario and litmus test at its smallest size, where nothing fails by chance"),
    opt.CARRIER,
    opt.MEMORY,
    opt.JOBS,
    opt.whole(
        "--preemptions",
        "K",
        "visit the schedules in which at most K tasks are interrupted, instead of all classes",
    ),
    opt.whole("--delays", "K", "visit the schedules that differ from a round robin by at most K delays"),
    opt.flag("--iterate", "with a bound of 0, 1, 2, ... preemptions (or delays), up to K if that is given"),
    opt.option("--checkpoint", "FILE", "save the search there, and go on from there if the file exists"),
    opt.flag("--all-violations", "go on after the first and count the violating classes"),
    opt.whole("--limit", "N", f"give up after so many executions (default: none, with --all {LIMIT_OF_ALL})"),
    opt.number(
        "--seconds",
        "T",
        "for each algorithm: give up after that time, with what is known then and a checkpoint to go on from (without "
        "--checkpoint a new file in --out)",
    ),
    opt.OUT.but(help="where counterexamples are saved (default %(default)s/)"),
)


def run(options: argparse.Namespace) -> int:
    scenarios = opt.choose_scenarios(options, "proves", kernels_only=bool(options.algorithm))
    limit = options.limit
    if options.all:
        if options.parameter or options.checkpoint:
            raise UserError("--all takes the smallest sizes and no checkpoint: omit -p and --checkpoint")
        # Where allocations fail by chance there is nothing to prove.
        scenarios = [one for one in scenarios if one.bind(least_values(one)).failing is None]
        limit = LIMIT_OF_ALL if limit is None else limit
    with progress_bar() as bar:

        def estimated(algorithm: str, estimate: Estimate) -> None:
            bar.reset(total=max(1, round(estimate.classes)))
            bar.set_description(algorithm)
            if not bar.disable and not options.all:
                bar.write(f"{algorithm}: {estimate}", file=bar.fp)

        searches = [
            partial(
                verify,
                described,
                least_values(described) if options.all else options.parameter,
                options.algorithm or (described.algorithms() if options.all else None),
                carrier=options.carrier,
                memory=options.memory,
                jobs=options.jobs,
                preemptions=options.preemptions,
                delays=options.delays,
                iterate=options.iterate,
                all_violations=options.all_violations,
                limit=limit,
                seconds=options.seconds,
                checkpoint=options.checkpoint,
                out=options.out,
                progress=show_progress(bar),
                estimated=estimated,
            )
            for described in scenarios
        ]
        found, interrupted = collect(searches)
    return conclude_results(
        options,
        found,
        lambda result: verify_report(result, width(), table=not options.all),
        together="verifications" if options.all else None,
        interrupted=interrupted,
    )


VERBS = {"verify": opt.Verb(OPTIONS, run)}
