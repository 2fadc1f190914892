"""`hunt`: look for executions in which an algorithm goes wrong."""

import argparse
import json
import sys

from tqdm import tqdm

from anonvma_rt.cli.report import hunt_report
from anonvma_rt.cli.verbs.common import (
    AS_EXPECTED,
    INTERRUPTED,
    NOT_AS_EXPECTED,
    about_scenario,
    fail_alloc,
    out,
    the_algorithms,
    the_scenario,
    the_strategy,
    whole,
    width,
)
from anonvma_rt.errors import UserError
from anonvma_rt.kernel.scenario import Scenario
from anonvma_rt.lab.lab import DEFAULT_STRATEGY, HUNT_CARRIERS, STRATEGIES, load, names_of_all
from anonvma_rt.search.hunt import DEFAULT_CLASSES, DEFAULT_RUNS, hunt
from anonvma_rt.search.hunt_result import HuntInterrupted, HuntResult
from anonvma_rt.text.names import split_names
from anonvma_rt.text.parameters import parse_parameters

ABOUT = "look for executions in which an algorithm goes wrong"


def add(parser: argparse.ArgumentParser) -> None:
    about_scenario(
        parser,
        "a parameter of the scenario",
        "a preset, or preset,field=value, or a litmus test's variant; may be repeated (default: unpatched and "
        "moveto-tail, or those that the scenario names; with --all every one of which a scenario expects something)",
    )
    parser.add_argument(
        "--all", action="store_true", help="every built-in scenario and litmus test under all that it names"
    )
    parser.add_argument(
        "--strategy",
        metavar="S",
        help=f"NAME or NAME:parameter=value, of {', '.join(STRATEGIES)}, or module:Class of your own "
        f"(default {DEFAULT_STRATEGY}, or what the scenario says finds it best)",
    )
    parser.add_argument(
        "--interesting",
        metavar="NAME[,NAME...]",
        help="operations whose order surw draws, and so the portfolio (see `list`; of a litmus test its locks and "
        "variables; THREAD:NAME for those of one thread; default: what the scenario says)",
    )
    parser.add_argument(
        "--carrier",
        default="threads",
        metavar="C",
        help=f"who runs the tasks, of {', '.join(HUNT_CARRIERS)} (default %(default)s); auto searches on fibers and "
        "makes violating executions again on threads",
    )
    parser.add_argument("--seed", type=whole("--seed"), default=0, metavar="N", help="default %(default)s")
    parser.add_argument(
        "--start", type=whole("--start"), default=0, metavar="I", help="the first execution index (default 0)"
    )
    parser.add_argument(
        "--runs", type=whole("--runs"), default=DEFAULT_RUNS, metavar="N", help="executions (default %(default)s)"
    )
    parser.add_argument(
        "--jobs", type=whole("--jobs"), default=1, metavar="J", help="explorers, one per core (default 1)"
    )
    parser.add_argument(
        "--classes",
        type=whole("--classes"),
        default=DEFAULT_CLASSES,
        metavar="K",
        help="count the classes of interleavings among the first K executions, which cost more (default %(default)s; "
        "0: none)",
    )
    fail_alloc(parser)
    out(parser, "reproducers")


def run(options: argparse.Namespace) -> int:
    if options.all and options.scenario:
        raise UserError("--all hunts every built-in scenario and litmus test: leave the name away")
    if options.all and options.interesting is not None:
        raise UserError("--interesting names operations of one scenario, and --all hunts them all: leave one away")
    interesting = None if options.interesting is None else split_names(options.interesting)
    # Algorithms that were named are kernels, and not variants of litmus tests.
    every = Scenario.builtin_names() if options.algorithm or options.fail_alloc else names_of_all()
    scenarios = [load(name) for name in every] if options.all else [the_scenario(options.scenario)]
    parameters = parse_parameters(options.parameter)
    algorithms = {
        s.name: the_algorithms(options.algorithm) or (s.algorithms() if options.all else s.bind(parameters).usual())
        for s in scenarios
    }
    found: list[HuntResult] = []
    interrupted = False
    total = options.runs * sum(map(len, algorithms.values()))
    with tqdm(total=total, unit="exec", delay=1, disable=None, file=sys.stderr, leave=False) as bar:

        def progress(algorithm: str, executions: int) -> None:
            bar.set_description(algorithm, refresh=False)
            bar.update(executions)

        try:
            for scenario in scenarios:
                result = hunt(
                    scenario,
                    parameters,
                    algorithms[scenario.name],
                    strategy=the_strategy(options.strategy),
                    carrier=options.carrier,
                    seed=options.seed,
                    start=options.start,
                    runs=options.runs,
                    jobs=options.jobs,
                    classes=options.classes,
                    out=options.out,
                    progress=progress,
                    interesting=interesting,
                    fail_alloc=options.fail_alloc,
                )
                found.append(result)
        except HuntInterrupted as interruption:
            found.append(interruption.result)
            interrupted = True
    as_expected = all(result.as_expected for result in found)
    if options.json and options.all:
        print(json.dumps({"hunts": [result.as_dict() for result in found], "as_expected": as_expected}))
    elif options.json:
        print(json.dumps(found[0].as_dict()))
    else:
        print("\n".join(hunt_report(result, width(), table=not options.all) for result in found))
    unsaved = [one.unsaved for result in found for one in result.results if one.unsaved]
    for message in unsaved:
        print(f"anonvma-rt: {message}", file=sys.stderr)
    for one in (one for result in found for one in result.results if one.confirmed and not one.confirmed.agrees):
        print(f"anonvma-rt: a bug of the lab: {one.algorithm} differs between fibers and threads", file=sys.stderr)
    if interrupted:
        return INTERRUPTED
    return AS_EXPECTED if as_expected and not unsaved else NOT_AS_EXPECTED
