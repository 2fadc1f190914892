"""`hunt`: look for executions in which an algorithm goes wrong. `storm`: the same with all tasks at once, under seeded
chaos."""

import argparse
from functools import partial

from anonvma_rt.cli import options as opt
from anonvma_rt.cli.ending import collect, conclude_results, progress_bar, show_progress, width
from anonvma_rt.cli.matrix_report import matrices_report, matrix_report
from anonvma_rt.cli.report import hunt_report, storm_report
from anonvma_rt.errors import UserError
from anonvma_rt.execution.budget import Budget
from anonvma_rt.lab.explorers import AUTO, HUNT_CARRIERS
from anonvma_rt.lab.strategies import make_strategy
from anonvma_rt.linux.table import select
from anonvma_rt.releases.matrix import hunt_releases
from anonvma_rt.search.bounds import executions_for
from anonvma_rt.search.hunt import DEFAULT_CLASSES, DEFAULT_RUNS, hunt
from anonvma_rt.storming.delays import DELAYS
from anonvma_rt.storming.storm import DEFAULT_SECONDS, storm
from anonvma_rt.subjects.protocols import SC
from anonvma_rt.text.names import split_names

HUNT = (
    opt.SCENARIO,
    *opt.PROGRAM,
    opt.PARAMETER,
    opt.ALGORITHM.but(
        help="a preset, or preset,field=value, or a litmus test's variant; may be repeated (default: unpatched and "
        "moveto-tail, or those that the scenario names; with --all every one of which a scenario expects something)"
    ),
    opt.ALL,
    opt.option(
        "--releases",
        "R",
        "under releases of Linux instead of algorithms: all, or 2.6.38, 3.2..4.4, 6.16.. with commas between; tells "
        "the first and the last that has the bug, and by which change it came and went; each is hunted up to its first "
        "violation",
        lambda text: select(text, "--releases"),
    ),
    opt.STRATEGY,
    opt.option(
        "--interesting",
        "NAME[,NAME...]",
        "operations whose order surw draws, and so the portfolio (see `list`; of a litmus test its locks and "
        "variables, of a program what its threads share; THREAD:NAME for those of one thread; default: what the "
        "scenario says, or else an object that several tasks touch, drawn for each execution)",
        split_names,
    ),
    opt.MEMORY,
    opt.CARRIER.but(
        default=AUTO,
        help=f"who runs the tasks, of {', '.join(HUNT_CARRIERS)} (default %(default)s); auto searches on fibers and "
        "makes violating executions again on threads, or searches on threads where something needs them, and says so",
    ),
    opt.SEED,
    opt.whole("--start", "I", "the first execution index (default 0)", default=0),
    opt.whole(
        "--runs",
        "N",
        f"executions of each algorithm, at most (default {DEFAULT_RUNS}; with --seconds or --confidence no limit)",
    ),
    opt.number(
        "--seconds",
        "T",
        "for each algorithm: begin no more executions after that time; the verdict says how many they were, and --runs "
        "with that number makes the same ones",
    ),
    opt.JOBS,
    opt.whole(
        "--classes",
        "K",
        "count the classes of interleavings among the first K executions, which cost more (default %(default)s; "
        "0: none)",
        default=DEFAULT_CLASSES,
    ),
    opt.FAIL_ALLOC,
    opt.OUT,
    opt.whole(
        "--keep",
        "N",
        "reproducers to keep of each kind of violation beside its first, which always is (default %(default)s)",
        default=0,
    ),
    opt.flag(
        "--until-violation",
        "end at the first violation of each algorithm, that of the lowest index; more --jobs find the same one sooner. "
        "Of --runs, --seconds, --until-violation and --confidence the first that is reached ends it",
    ),
    opt.number(
        "--confidence",
        "P",
        "go on until a violation has at most this probability, with 95 %% confidence (1e-6: 2995731 executions without "
        "one), or there is one; exit code 1 where --runs or --seconds ends it before",
    ),
)

# What --releases leaves to say of each hunt.
OF_A_MATRIX = (
    "runs", "strategy", "carrier", "seed", "start", "jobs", "out", "interesting", "fail_alloc", "seconds", "confidence",
)  # fmt: skip


def _hunt(options: argparse.Namespace) -> int:
    if options.all and options.interesting is not None:
        raise UserError("--interesting names operations of one scenario, and --all hunts them all: omit one of them")
    if options.releases is not None:
        if options.memory != SC:
            raise UserError("--releases hunts the simulated kernel, which is modelled under SC alone: omit --memory")
        return run_releases(options)
    scenarios = opt.choose_scenarios(options, "hunts", kernels_only=bool(options.algorithm or options.fail_alloc))
    algorithms = {
        s.name: options.algorithm or (s.algorithms() if options.all else s.bind(options.parameter).usual())
        for s in scenarios
    }
    budget = Budget(options.runs, options.seconds, options.until_violation, options.confidence)
    budget.check()
    epoch = make_strategy(options.strategy).epoch if options.strategy else 1
    most = budget.most(None if budget.confidence is None else executions_for(budget.confidence, epoch))
    with progress_bar(total=None if most is None else most * sum(map(len, algorithms.values()))) as bar:
        hunts = [
            partial(
                hunt,
                scenario,
                options.parameter,
                algorithms[scenario.name],
                strategy=options.strategy,
                carrier=options.carrier,
                memory=options.memory,
                seed=options.seed,
                start=options.start,
                runs=options.runs,
                jobs=options.jobs,
                classes=options.classes,
                out=options.out,
                progress=show_progress(bar),
                interesting=options.interesting,
                fail_alloc=options.fail_alloc,
                keep=options.keep,
                until_violation=options.until_violation,
                seconds=options.seconds,
                confidence=options.confidence,
            )
            for scenario in scenarios
        ]
        found, interrupted = collect(hunts)
    return conclude_results(
        options,
        found,
        lambda result: hunt_report(result, width(), table=not options.all),
        together="hunts" if options.all else None,
        interrupted=interrupted,
        complaints=[
            f"a bug of the lab: {one.algorithm} differs between fibers and threads"
            for result in found
            for one in result.results
            if one.confirmed and not one.confirmed.agrees and not one.not_reproducible
        ],
    )


def run_releases(options: argparse.Namespace) -> int:
    if options.algorithm:
        raise UserError("--releases says under what to hunt, and so does --algorithm: omit one of them")
    scenarios = opt.choose_scenarios(options, "hunts", kernels_only=True)
    with progress_bar(total=None) as bar:
        how = {name: getattr(options, name) for name in OF_A_MATRIX}
        calls = [
            partial(
                hunt_releases,
                scenario,
                options.releases,
                options.parameter,
                progress=show_progress(bar),
                **how,
            )
            for scenario in scenarios
        ]
        found, interrupted = collect(calls)
    return conclude_results(
        options,
        found,
        matrix_report,
        together="matrices" if options.all else None,
        interrupted=interrupted,
        all_at_once=matrices_report if options.all else None,
    )


STORM = (
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


def _storm(options: argparse.Namespace) -> int:
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


VERBS = {"hunt": opt.Verb(HUNT, _hunt), "storm": opt.Verb(STORM, _storm)}
