"""`verify`: every class of interleavings once, which is a proof or a counterexample."""

import argparse
import json
import sys

from tqdm import tqdm

from anonvma_rt.cli.report import verify_report
from anonvma_rt.cli.verbs.common import (
    AS_EXPECTED,
    INTERRUPTED,
    NOT_AS_EXPECTED,
    about_scenario,
    out,
    the_algorithms,
    the_scenario,
    whole,
    width,
)
from anonvma_rt.errors import UserError
from anonvma_rt.kernel.scenario import Scenario
from anonvma_rt.lab.lab import load, names_of_all, smallest
from anonvma_rt.search.class_count import Estimate
from anonvma_rt.search.verify import Verification, VerifyInterrupted, verify
from anonvma_rt.text.parameters import parse_parameters

LIMIT_OF_ALL = 200_000
ABOUT = "visit every class of interleavings once: a proof, or a counterexample"


def add(parser: argparse.ArgumentParser) -> None:
    about_scenario(parser, "a parameter; keep it small", "as for hunt; may be repeated")
    parser.add_argument(
        "--all",
        action="store_true",
        help="every built-in scenario and litmus test at its smallest size, where nothing fails by chance",
    )
    parser.add_argument("--carrier", default="fibers", metavar="C", help="who runs the tasks (default %(default)s)")
    parser.add_argument(
        "--jobs", type=whole("--jobs"), default=1, metavar="J", help="explorers, one per core (default 1)"
    )
    parser.add_argument(
        "--preemptions",
        type=whole("--preemptions"),
        metavar="K",
        help="visit the schedules in which at most K tasks are interrupted, instead of all classes",
    )
    parser.add_argument(
        "--checkpoint", metavar="FILE", help="save the search there, and go on from there if the file exists"
    )
    parser.add_argument(
        "--all-violations", action="store_true", help="go on after the first and count the violating classes"
    )
    parser.add_argument(
        "--limit",
        type=whole("--limit"),
        metavar="N",
        help=f"give up after so many executions (default: none, with --all {LIMIT_OF_ALL})",
    )
    out(parser, "counterexamples")


def run(options: argparse.Namespace) -> int:
    if options.all and options.scenario:
        raise UserError("--all proves every built-in scenario and litmus test: leave the name away")
    if options.all and (options.parameter or options.checkpoint):
        raise UserError("--all takes the smallest sizes and no checkpoint: leave -p and --checkpoint away")
    # Algorithms that were named are kernels, and not variants of litmus tests.
    every = Scenario.builtin_names() if options.algorithm else names_of_all()
    scenarios = [load(name) for name in every] if options.all else [the_scenario(options.scenario)]
    if options.all:
        # Where allocations fail by chance there is nothing to prove.
        scenarios = [one for one in scenarios if one.bind(smallest(one)).failing is None]
    given = parse_parameters(options.parameter)
    limit = options.limit if options.limit is not None or not options.all else LIMIT_OF_ALL
    found: list[Verification] = []
    interrupted = False
    with tqdm(unit="exec", delay=1, disable=None, file=sys.stderr, leave=False) as bar:

        def progress(algorithm: str, executions: int) -> None:
            bar.set_description(algorithm, refresh=False)
            bar.update(executions)

        def estimated(algorithm: str, estimate: Estimate) -> None:
            bar.reset(total=max(1, round(estimate.classes)))
            bar.set_description(algorithm)
            if not bar.disable and not options.all:
                bar.write(f"{algorithm}: {estimate}", file=sys.stderr)

        try:
            for described in scenarios:
                result = verify(
                    described,
                    smallest(described) if options.all else given,
                    the_algorithms(options.algorithm) or (described.algorithms() if options.all else None),
                    carrier=options.carrier,
                    jobs=options.jobs,
                    preemptions=options.preemptions,
                    all_violations=options.all_violations,
                    limit=limit,
                    checkpoint=options.checkpoint,
                    out=options.out,
                    progress=progress,
                    estimated=estimated,
                )
                found.append(result)
        except VerifyInterrupted as interruption:
            found.append(interruption.result)
            interrupted = True
    as_expected = all(result.as_expected for result in found)
    if options.json and options.all:
        print(json.dumps({"verifications": [result.as_dict() for result in found], "as_expected": as_expected}))
    elif options.json:
        print(json.dumps(found[0].as_dict()))
    else:
        print("\n".join(verify_report(result, width(), table=not options.all) for result in found))
    unsaved = [one.unsaved for result in found for one in result.results if one.unsaved]
    for message in unsaved:
        print(f"anonvma-rt: {message}", file=sys.stderr)
    if interrupted:
        return INTERRUPTED
    return AS_EXPECTED if as_expected and not unsaved else NOT_AS_EXPECTED
