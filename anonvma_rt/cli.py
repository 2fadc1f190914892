"""The command line: one short function per verb, which parses, calls and prints.

Results go to stdout and progress to stderr. Exit codes: 0 every answer is the expected one, 1 it is not, 2 bad input in
one line, 130 interrupted with what was found printed and saved.
"""

import argparse
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from tqdm import tqdm

from anonvma_rt import __version__
from anonvma_rt.algorithm import ALIASES, BEHAVIOUR, CHOICES, PRESETS
from anonvma_rt.errors import UserError
from anonvma_rt.hunt import DEFAULT_RUNS, DEFAULT_SCENARIO, HuntInterrupted, HuntResult, hunt
from anonvma_rt.kernel_run import run_kernel_program
from anonvma_rt.lab import CARRIERS, DEFAULT_STRATEGY, STRATEGIES, Described, load, names_of_all
from anonvma_rt.litmus import Litmus
from anonvma_rt.report import hunt_report, replay_report, verify_report, world_report
from anonvma_rt.reproducer import Reproducer, replay
from anonvma_rt.scenario import Scenario, parse_parameters
from anonvma_rt.verify import Verification, VerifyInterrupted, verify

__all__ = ["main"]

AS_EXPECTED, NOT_AS_EXPECTED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line (sys.argv by default) and returns its exit code."""
    try:
        options = _parser().parse_args(arguments)
        code = int(options.run(options))
        sys.stdout.flush()
        return code
    except UserError as error:
        print(f"anonvma-rt: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("anonvma-rt: interrupted", file=sys.stderr)
        return INTERRUPTED
    except MemoryError as error:
        print(f"anonvma-rt: out of memory: {error or 'choose smaller parameters'}", file=sys.stderr)
        return BAD_INPUT
    except BrokenPipeError:
        # Whoever reads has read enough; Python must not fail again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


def verb_list(options: argparse.Namespace) -> int:
    scenarios = [Scenario.load(name) for name in Scenario.builtin_names()]
    usual = PRESETS["unpatched"]
    aliases = {preset: [a for a, p in ALIASES.items() if p == preset] for preset in PRESETS}
    tests = [Litmus.load(name) for name in Litmus.builtin_names()]
    listing: dict[str, list[dict[str, Any]]] = {
        "scenarios": [
            {
                **_description(s),
                "zoo": s.zoo,
                "commit": s.commit,
                "year": s.year,
                "symptom": s.symptom,
            }
            for s in scenarios
        ],
        "litmus": [_description(test) for test in tests],
        "algorithms": [
            {"name": a.name, "about": a.about, "kernel": a.kernel, "aliases": aliases[a.name]} for a in PRESETS.values()
        ],
        "fields": [
            {"name": name, "about": " or ".join(CHOICES.get(name, ("false", "true"))), "default": getattr(usual, name)}
            for name in BEHAVIOUR
        ],
        "strategies": [{"name": name, "about": about} for name, (_, about) in STRATEGIES.items()],
        "carriers": [{"name": name, "about": about} for name, about in CARRIERS.items()],
    }
    if options.json:
        print(json.dumps(listing))
        return AS_EXPECTED
    for heading, entries in listing.items():
        print(f"{heading}:")
        for entry in entries:
            known_as = f" [{', '.join(entry['aliases'])}]" if entry.get("aliases") else ""
            if "default" in entry:
                known_as = f" [{str(entry['default']).lower()} in unpatched]"
            print(f"  {entry['name']:27}{entry['about']}{known_as}")
            if entry.get("zoo"):
                print(f"    {entry['zoo']}: {entry['commit']} ({entry['year']}): {entry['symptom']}")
            for name, parameter in entry.get("parameters", {}).items():
                assignment = f"-p {name}={str(parameter['default']).lower()}"
                print(f"    {assignment:22}{parameter['about']}")
    return AS_EXPECTED


def _description(described: Described) -> dict[str, Any]:
    return {
        "name": described.name,
        "about": described.about,
        "parameters": {p.name: {"default": p.default, "about": p.about} for p in described.parameters.values()},
        "expect": {name: described.expected(name) for name in described.algorithms()},
    }


def verb_hunt(options: argparse.Namespace) -> int:
    if options.all and options.scenario:
        raise UserError("--all hunts every built-in scenario and litmus test: leave the name away")
    # Algorithms that were named are kernels, and not variants of litmus tests.
    every = Scenario.builtin_names() if options.algorithm else names_of_all()
    scenarios = [load(name) for name in (every if options.all else [options.scenario or DEFAULT_SCENARIO])]
    parameters = parse_parameters(options.parameter)
    algorithms = {
        s.name: options.algorithm or (s.algorithms() if options.all else s.bind(parameters).usual()) for s in scenarios
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
                    strategy=options.strategy,
                    carrier=options.carrier,
                    seed=options.seed,
                    start=options.start,
                    runs=options.runs,
                    jobs=options.jobs,
                    out=options.out,
                    progress=progress,
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
        print("\n".join(hunt_report(result, _width(), table=not options.all) for result in found))
    unsaved = [one.unsaved for result in found for one in result.results if one.unsaved]
    for message in unsaved:
        print(f"anonvma-rt: {message}", file=sys.stderr)
    if interrupted:
        return INTERRUPTED
    return AS_EXPECTED if as_expected and not unsaved else NOT_AS_EXPECTED


def verb_verify(options: argparse.Namespace) -> int:
    described = load(options.scenario or DEFAULT_SCENARIO)
    interrupted = False
    with tqdm(unit="exec", delay=1, disable=None, file=sys.stderr, leave=False) as bar:

        def progress(algorithm: str, executions: int) -> None:
            bar.set_description(algorithm, refresh=False)
            bar.update(executions)

        try:
            result: Verification = verify(
                described,
                parse_parameters(options.parameter),
                options.algorithm,
                carrier=options.carrier,
                all_violations=options.all_violations,
                limit=options.limit,
                out=options.out,
                progress=progress,
            )
        except VerifyInterrupted as interruption:
            result, interrupted = interruption.result, True
    print(json.dumps(result.as_dict()) if options.json else verify_report(result, _width()))
    if interrupted:
        return INTERRUPTED
    return AS_EXPECTED if result.as_expected else NOT_AS_EXPECTED


def verb_replay(options: argparse.Namespace) -> int:
    reproducer = Reproducer.load(options.file)
    replayed = replay(reproducer, options.times, options.until)
    try:
        if options.json:
            fields = ("times", "reproduced", "kind", "steps", "switches", "same_trace")
            print(json.dumps({name: getattr(replayed, name) for name in fields}))
        else:
            print(replay_report(reproducer, replayed, _width(), full=options.full))
            if options.until is not None:
                print(world_report(replayed))
    finally:
        replayed.explorer.close()
    return AS_EXPECTED if replayed.reproduced == replayed.times else NOT_AS_EXPECTED


def verb_kernel(options: argparse.Namespace) -> int:
    names = ("mode", "seconds", "pages", "megabytes")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    words = [f"--{name}={value}" for name, value in given.items()]
    return run_kernel_program([*words, "--json"] if options.json else words)


def _width() -> int:
    return shutil.get_terminal_size((110, 24)).columns


class _Parser(argparse.ArgumentParser):
    """argparse, but a wrong option is one line like any other bad input."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; {self.prog} --help says what there is")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="anonvma-rt",
        description="A race laboratory for Linux's reverse map of anonymous memory: real OS threads, every "
        "interleaving decided from a seed.",
        epilog="Exit codes: 0 as expected, 1 not as expected, 2 bad input, 130 interrupted.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"anonvma-rt {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    def verb(name: str, run: Callable[[argparse.Namespace], int], about: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=about, description=about, allow_abbrev=False)
        added.set_defaults(run=run)
        added.add_argument("--json", action="store_true", help="print one JSON object and nothing else on stdout")
        return added

    verb("list", verb_list, "list the scenarios, litmus tests, algorithms, strategies and carriers")

    hunting = verb("hunt", verb_hunt, "look for executions in which an algorithm goes wrong")
    hunting.add_argument(
        "scenario",
        nargs="?",
        metavar="SCENARIO",
        help=f"a built-in scenario or litmus test, or a TOML file (default {DEFAULT_SCENARIO})",
    )
    hunting.add_argument(
        "--all", action="store_true", help="every built-in scenario and litmus test under all that it names"
    )
    hunting.add_argument(
        "-p", dest="parameter", metavar="NAME=VALUE", action="append", default=[], help="a parameter of the scenario"
    )
    hunting.add_argument(
        "--algorithm",
        action="append",
        metavar="A",
        help="a preset, or preset,field=value, or a litmus test's variant; may be repeated (default: unpatched and "
        "moveto-tail, or those that the scenario names; with --all every one of which a scenario expects something)",
    )
    hunting.add_argument(
        "--strategy",
        metavar="S",
        help=f"NAME or NAME:parameter=value, of {', '.join(STRATEGIES)} (default {DEFAULT_STRATEGY}, or what the "
        "scenario says finds it best)",
    )
    hunting.add_argument("--carrier", default="threads", metavar="C", help="who runs the tasks (default %(default)s)")
    hunting.add_argument("--seed", type=_whole("--seed"), default=0, metavar="N", help="default %(default)s")
    hunting.add_argument(
        "--start", type=_whole("--start"), default=0, metavar="I", help="the first execution index (default 0)"
    )
    hunting.add_argument(
        "--runs", type=_whole("--runs"), default=DEFAULT_RUNS, metavar="N", help="executions (default %(default)s)"
    )
    hunting.add_argument(
        "--jobs", type=_whole("--jobs"), default=1, metavar="J", help="explorers, one per core (default 1)"
    )
    hunting.add_argument(
        "--out", default="reproducers", metavar="DIR", help="where reproducers are saved (default %(default)s/)"
    )

    verifying = verb("verify", verb_verify, "visit every class of interleavings once: a proof, or a counterexample")
    verifying.add_argument(
        "scenario", nargs="?", metavar="SCENARIO", help=f"a built-in name or a TOML file (default {DEFAULT_SCENARIO})"
    )
    verifying.add_argument(
        "-p", dest="parameter", metavar="NAME=VALUE", action="append", default=[], help="a parameter; keep it small"
    )
    verifying.add_argument("--algorithm", action="append", metavar="A", help="as for hunt; may be repeated")
    verifying.add_argument("--carrier", default="fibers", metavar="C", help="who runs the tasks (default %(default)s)")
    verifying.add_argument(
        "--all-violations", action="store_true", help="go on after the first and count the violating classes"
    )
    verifying.add_argument(
        "--limit", type=_whole("--limit"), metavar="N", help="give up after so many executions (default: none)"
    )
    verifying.add_argument(
        "--out", default="reproducers", metavar="DIR", help="where counterexamples are saved (default %(default)s/)"
    )

    replaying = verb("replay", verb_replay, "make the execution of a reproducer come again")
    replaying.add_argument("file", metavar="FILE", help="a reproducer that a hunt saved")
    replaying.add_argument("--times", type=_whole("--times"), default=1, metavar="N", help="how often (default 1)")
    replaying.add_argument(
        "--until", type=_whole("--until"), metavar="STEP", help="stop before that step and print the state"
    )
    replaying.add_argument("--full", action="store_true", help="every point in the table, not only what matters")

    kernel = verb("kernel", verb_kernel, "the program of 2011 on this host's own kernel; needs root and a C compiler")
    kernel.add_argument(
        "--mode", choices=("shot", "compaction"), help="who migrates (default: the first that this host allows)"
    )
    kernel.add_argument("--seconds", metavar="T", help="how long (default 10)")
    kernel.add_argument(
        "--pages", type=_whole("--pages"), metavar="N", help="pages that move (default 64, in mode compaction 2048)"
    )
    kernel.add_argument(
        "--megabytes", type=_whole("--megabytes"), metavar="N", help="memory of mode compaction (default 64)"
    )
    return parser


def _whole(option: str) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            return int(text.replace("_", ""), 0)
        except ValueError:
            raise UserError(f'{option} must be a whole number, not "{text}"') from None

    return parse
