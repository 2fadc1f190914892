"""`verify`: every class of interleavings once, which is a proof or a counterexample."""

import argparse
import json
import sys

from tqdm import tqdm

from anonvma_rt.estimate import Estimate
from anonvma_rt.report import verify_report
from anonvma_rt.scenario import parse_parameters
from anonvma_rt.verbs.common import (
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
from anonvma_rt.verify import Verification, VerifyInterrupted, verify

ABOUT = "visit every class of interleavings once: a proof, or a counterexample"


def add(parser: argparse.ArgumentParser) -> None:
    about_scenario(parser, "a parameter; keep it small", "as for hunt; may be repeated")
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
        "--limit", type=whole("--limit"), metavar="N", help="give up after so many executions (default: none)"
    )
    out(parser, "counterexamples")


def run(options: argparse.Namespace) -> int:
    described = the_scenario(options.scenario)
    interrupted = False
    with tqdm(unit="exec", delay=1, disable=None, file=sys.stderr, leave=False) as bar:

        def progress(algorithm: str, executions: int) -> None:
            bar.set_description(algorithm, refresh=False)
            bar.update(executions)

        def estimated(algorithm: str, estimate: Estimate) -> None:
            bar.reset(total=max(1, round(estimate.classes)))
            bar.set_description(algorithm)
            if not bar.disable:
                bar.write(f"{algorithm}: {estimate}", file=sys.stderr)

        try:
            result: Verification = verify(
                described,
                parse_parameters(options.parameter),
                the_algorithms(options.algorithm),
                carrier=options.carrier,
                jobs=options.jobs,
                preemptions=options.preemptions,
                all_violations=options.all_violations,
                limit=options.limit,
                checkpoint=options.checkpoint,
                out=options.out,
                progress=progress,
                estimated=estimated,
            )
        except VerifyInterrupted as interruption:
            result, interrupted = interruption.result, True
    print(json.dumps(result.as_dict()) if options.json else verify_report(result, width()))
    unsaved = [one.unsaved for one in result.results if one.unsaved]
    for message in unsaved:
        print(f"anonvma-rt: {message}", file=sys.stderr)
    if interrupted:
        return INTERRUPTED
    return AS_EXPECTED if result.as_expected and not unsaved else NOT_AS_EXPECTED
