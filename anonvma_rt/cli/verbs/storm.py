"""`storm`: all tasks at once, under seeded chaos."""

import argparse
import json
import sys

from tqdm import tqdm

from anonvma_rt.cli.report import storm_report
from anonvma_rt.cli.verbs.common import (
    AS_EXPECTED,
    INTERRUPTED,
    NOT_AS_EXPECTED,
    about_scenario,
    fail_alloc,
    out,
    the_algorithms,
    the_scenario,
    whole,
    width,
)
from anonvma_rt.errors import UserError
from anonvma_rt.storming.delays import PROFILES
from anonvma_rt.storming.storm import DEFAULT_SECONDS, StormInterrupted, StormResult, storm
from anonvma_rt.text.parameters import parse_parameters

ABOUT = "let all tasks run at once under seeded chaos: rates, and hits turned into replays"


def add(parser: argparse.ArgumentParser) -> None:
    about_scenario(parser, "a parameter of the scenario", "as for hunt; may be repeated")
    parser.add_argument(
        "--seconds",
        type=_seconds,
        default=DEFAULT_SECONDS,
        metavar="T",
        help="for each algorithm (default %(default)g)",
    )
    parser.add_argument("--seed", type=whole("--seed"), default=0, metavar="N", help="default %(default)s")
    parser.add_argument(
        "--profile",
        action="append",
        metavar="P",
        help=f"NAME or NAME:parameter=value, of {', '.join(PROFILES)}; may be repeated (default: all)",
    )
    parser.add_argument(
        "--record",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="keep logs and replay what was found; costs a shared counter at each point (default: yes)",
    )
    fail_alloc(parser)
    out(parser, "reproducers")


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f'--seconds must be a number, not "{text}"') from None


def run(options: argparse.Namespace) -> int:
    described = the_scenario(options.scenario)
    hits = 0
    with tqdm(unit="exec", disable=None, file=sys.stderr, leave=False) as bar:

        def progress(algorithm: str, executions: int, violations: int) -> None:
            nonlocal hits
            hits += violations
            bar.set_description(algorithm, refresh=False)
            bar.set_postfix(violations=hits, refresh=False)
            bar.update(executions)

        try:
            result: StormResult = storm(
                described,
                parse_parameters(options.parameter),
                the_algorithms(options.algorithm),
                seconds=options.seconds,
                seed=options.seed,
                profiles=options.profile,
                record=options.record,
                out=options.out,
                progress=progress,
                fail_alloc=options.fail_alloc,
            )
        except StormInterrupted as interruption:
            result = interruption.result
    print(json.dumps(result.as_dict()) if options.json else storm_report(result, width()))
    unsaved = [one.unsaved for one in result.results if one.unsaved]
    for message in unsaved:
        print(f"anonvma-rt: {message}", file=sys.stderr)
    if result.interrupted:
        return INTERRUPTED
    return AS_EXPECTED if result.as_expected and not unsaved else NOT_AS_EXPECTED
