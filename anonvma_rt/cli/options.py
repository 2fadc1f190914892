"""The options of the command line. One that several verbs take is declared here once, with what is made of its text.

A verb lists its options in a record (Verb). The parser is built of these records, and after it every value goes through
the `read` of its option: so a verb gets scenarios, algorithms and strategies, and never the words that name them.
"""

import argparse
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from anonvma_rt.cli.ending import complain
from anonvma_rt.engine.memory.buffers import MODELS
from anonvma_rt.engine.run.strategy import Strategy
from anonvma_rt.engine.strategy.python import PyStrategy
from anonvma_rt.errors import UserError, quote
from anonvma_rt.execution.reproducer import Reproducer
from anonvma_rt.kernel.algorithm import Algorithm, import_rule
from anonvma_rt.kernel.failing import ALLOCATIONS
from anonvma_rt.kernel.scenario import Scenario
from anonvma_rt.lab.load import DEFAULT_SCENARIO, load, names_of_all, own_named
from anonvma_rt.lab.strategies import DEFAULT_STRATEGY, STRATEGIES, with_values
from anonvma_rt.linux.table import is_release, resolve
from anonvma_rt.own.gate import import_class, is_own, must_be_checked
from anonvma_rt.own.subject import subject
from anonvma_rt.programs.asked import LATE, RACES
from anonvma_rt.programs.build import is_program
from anonvma_rt.programs.spec import specified
from anonvma_rt.programs.subject import Native, native
from anonvma_rt.subjects.protocols import SC, Choice, Described
from anonvma_rt.text.parameters import parse_parameters

__all__ = [
    "ALGORITHM", "ALL", "CARRIER", "FAIL_ALLOC", "FILE", "JOBS", "JSON", "MEMORY", "OF_PROGRAMS", "OUT", "PARAMETER",
    "PROGRAM", "SCENARIO", "SEED", "STRATEGY", "SUBJECT", "Option", "Verb", "choose_scenarios", "flag",
    "load_reproducer", "number", "option", "own_code", "several", "the_scenario", "whole",
]  # fmt: skip


@dataclass(frozen=True)
class Option:
    """how: what argparse is told of it. read: what the verb gets in place of a value that is not None."""

    name: str
    how: Mapping[str, Any]
    read: Callable[[Any], Any] | None = None

    def but(self, **how: Any) -> "Option":
        """The same option with another default or other words."""
        return replace(self, how={**self.how, **how})

    def take(self, options: argparse.Namespace) -> None:
        name = self.how.get("dest", self.name.lstrip("-").replace("-", "_"))
        value = getattr(options, name)
        if self.read is not None and value is not None:
            setattr(options, name, self.read(value))


@dataclass(frozen=True)
class Verb:
    """What the parser needs of a verb, or of an action of one. A verb with actions has no `run` of its own; what a verb
    is about stands beside its name in verbs/__init__.py."""

    options: Sequence[Option] = ()
    run: Callable[[argparse.Namespace], int] | None = None
    actions: Mapping[str, "Verb"] = field(default_factory=dict)
    about: str = ""


def option(name: str, metavar: str, about: str, read: Callable[[Any], Any] | None = None, **how: Any) -> Option:
    return Option(name, {"metavar": metavar, "help": about, **how}, read)


def several(name: str, metavar: str, about: str, read: Callable[[Any], Any] | None = None, **how: Any) -> Option:
    """An option that may be repeated."""
    return option(name, metavar, about, read, action="append", **how)


def flag(name: str, about: str) -> Option:
    return Option(name, {"action": "store_true", "help": about})


def whole(name: str, metavar: str, about: str, **how: Any) -> Option:
    """An option that takes a whole number; a wrong one is named with its option."""

    def parse(text: str) -> int:
        try:
            return int(text.replace("_", ""), 0)
        except ValueError:
            raise UserError(f'{name} must be a whole number, not "{text}"') from None

    return option(name, metavar, about, type=parse, **how)


def number(name: str, metavar: str, about: str, **how: Any) -> Option:
    """An option that takes a number; a wrong one is named with its option."""

    def parse(text: str) -> float:
        try:
            return float(text)
        except ValueError:
            raise UserError(f"{name} must be a number, not {quote(text)}") from None

    return option(name, metavar, about, type=parse, **how)


def _is_linked(name: str) -> bool:
    """Whether it is a program that was made already, with or without its libraries in it."""
    try:
        with open(name, "rb") as file:
            return file.read(4) == b"\x7fELF"
    except OSError:
        return False


def _the_scenario(names: Sequence[str]) -> Described | None:
    """One name, or the files of a program."""
    if names and all(map(is_program, names)):
        return native(*names)
    for name in names:
        if name.endswith((".so", ".a", ".out", ".exe")) or _is_linked(name):
            raise UserError(f"{quote(name)} is linked already: name the program's sources, or its .o files")
    if len(names) > 1:
        raise UserError(f"one scenario at a time, or the files of one program, not {quote(' '.join(names))}")
    return _named(names[0]) if names else None


def _named(name: str) -> Described:
    return subject(name) if is_own(name) else load(name)


def _words(text: str) -> tuple[str, ...]:
    """As a shell cuts them."""
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise UserError(f"{quote(text)} cannot be cut into words: {str(error).lower()}") from None


def _the_algorithms(names: Sequence[str]) -> list[Choice | str]:
    """A rule of the user's own (`rule=module:Class`) is imported. A release that is taken as another one is told."""
    chosen: list[Choice | str] = []
    for name in names:
        release = name.split(",")[0].strip()
        if is_release(release) and (said := resolve(release).said):
            complain(said)
        found = re.search(r",\s*rule\s*=\s*([\w.:]+)", name)
        chosen.append(Algorithm.parse(name, [import_rule(found[1])]) if found else name)
    return chosen


def _the_strategy(text: str) -> Strategy | str:
    """A strategy of the user's own, `module:Class:parameter=value`, is imported."""
    name, _, rest = text.partition(":")
    cls_name, _, values = rest.partition(":")
    if name in STRATEGIES or not is_own(f"{name}:{cls_name}"):
        return text
    cls = import_class(f"{name}:{cls_name}", Strategy, "strategy")
    if not issubclass(cls, PyStrategy):
        must_be_checked(cls, "strategy")
    return with_values(cls, f"{name}:{cls_name}", values)


JSON = flag("--json", "print one JSON object and nothing else on stdout")
ALL = flag("--all", "every built-in scenario and litmus test under all that it names")
SCENARIO = option(
    "scenario",
    "SCENARIO",
    "a built-in scenario or litmus test, a TOML file, a program's files (.c, .cc, .cpp, .o), or a compiled subject of "
    f"your own, module:Class (default {DEFAULT_SCENARIO})",
    _the_scenario,
    nargs="*",
)
SPEC = option(
    "--spec",
    "FILE.py:Class",
    "of a program, what the operations that it calls (rt_call, rt_return) are to be like, one after the other: a class "
    "with a method for each, or FILE.c; what no order of them explains is not-linearizable",
)
CFLAGS = option("--cflags", "FLAGS", "of the compiler, for a program", _words)
LINK = option("--link", "FLAGS", "of the linker, for a program", _words)
# Of a program that is compiled.
PROGRAM = (
    CFLAGS,
    LINK,
    option("--args", "WORDS", "of main, for a program", _words),
    option(
        "--races",
        "R",
        f"of a program, what becomes of accesses that nothing orders: {', '.join(RACES)} (default {RACES[0]}; point: "
        "wherever they race they are steps of their own)",
    ),
    whole("--late", "N", f"of a program, how often waits with a timeout may be late in each thread (default {LATE})"),
    whole(
        "--spurious",
        "N",
        "of a program, how often each thread may wake at a condition variable for no reason (N: 1 if not given; "
        "default 0)",
        nargs="?",
        const=1,
    ),
    flag("--leaks", "of a program, memory that nobody can free at the end is a violation").but(default=None),
    SPEC,
)
# How they are called in anonvma_rt.programs.
OF_PROGRAMS = ("cflags", "link", "args", "races", "late", "spurious", "leaks", "spec")
PARAMETER = several("-p", "NAME=VALUE", "a parameter of the scenario", parse_parameters, dest="parameter", default=[])
ALGORITHM = several("--algorithm", "A", "as for hunt; may be repeated", _the_algorithms)
STRATEGY = option(
    "--strategy",
    "S",
    f"NAME or NAME:parameter=value, of {', '.join(STRATEGIES)}, or module:Class of your own "
    f"(default {DEFAULT_STRATEGY}, or what the scenario says finds it best)",
    _the_strategy,
)
CARRIER = option("--carrier", "C", "who runs the tasks (default %(default)s)", default="fibers")
SEED = whole("--seed", "N", "default %(default)s", default=0)
JOBS = whole("--jobs", "J", "explorers, one per core (default 1)", default=1)
FAIL_ALLOC = option(
    "--fail-alloc",
    "RATE[:KIND,...]",
    f"allocations fail with this probability, 0 to 1; kinds: {', '.join(ALLOCATIONS)} (default: all of them)",
)
MEMORY = option(
    "--memory",
    "M",
    f"how stores become visible: {', '.join(MODELS)} (default %(default)s; tso: a store buffer for each task, as on "
    "x86; pso: one for each task and variable)",
    default=SC,
)
OUT = option("--out", "DIR", "where reproducers are saved (default %(default)s/)", default="reproducers")
SUBJECT = several(
    "--subject",
    "module:Class",
    "a subject of your own that FILE may use, or the files of its program (a.c+b.c): nothing in a file can make the "
    "lab import or compile code",
    default=[],
)
# A reproducer, and the user's own code that it may use.
FILE = (
    option("file", "FILE", "a reproducer that a hunt saved"),
    SUBJECT,
    several("--rule", "module:Class", "a rule of your own that FILE may use", default=[]),
    SPEC.but(help="the specification that FILE was compared with"),
    CFLAGS.but(help="what FILE may say to the compiler, beside -D, -I, -O, -f and the like"),
    LINK.but(help="what FILE may say to the linker, beside -l"),
)


def choose_scenarios(options: argparse.Namespace, does: str, kernels_only: bool) -> list[Described]:
    """What `hunt` and `verify` are about: SCENARIO, or with --all every one that is built in."""
    if not options.all:
        return [the_scenario(options)]
    if options.scenario:
        raise UserError(f"--all {does} every built-in scenario and litmus test: omit the name")
    return [load(name) for name in (Scenario.builtin_names() if kernels_only else names_of_all())]


def the_scenario(options: argparse.Namespace) -> Described:
    """SCENARIO, with what is said of it if it is a program."""
    scenario: Described = options.scenario or load(DEFAULT_SCENARIO)
    given = {name: value for name in OF_PROGRAMS if (value := getattr(options, name, None)) is not None}
    if not given:
        return scenario
    if not isinstance(scenario, Native):
        raise UserError(f"--{next(iter(given))} is about a program, and {scenario.name} is none")
    scenario = scenario.with_flags(given.pop("cflags", ()), given.pop("link", ()))
    if "spec" in given:
        given["spec"] = specified(given["spec"])
    return scenario.with_asked(replace(scenario.asked, **given))


def own_code(options: argparse.Namespace) -> list[Any]:
    """The code that the user lets FILE use."""
    spec = getattr(options, "spec", None)
    flags = {name: getattr(options, name, None) for name in ("cflags", "link")}
    subjects = [own_named(name) for name in options.subject]
    for name, value in {**flags, "spec": spec}.items():
        if value is not None and not any(isinstance(one, Native) for one in subjects):
            raise UserError(f"--{name} is about a program: name it, too, with --subject")
    if any(flags.values()):
        subjects = [
            one.with_flags(flags["cflags"] or (), flags["link"] or ()) if isinstance(one, Native) else one
            for one in subjects
        ]
    if spec is not None:
        asked = specified(spec)
        subjects = [
            one.with_asked(replace(one.asked, spec=asked)) if isinstance(one, Native) else one for one in subjects
        ]
    return [*subjects, *(import_rule(name) for name in options.rule)]


def load_reproducer(options: argparse.Namespace) -> Reproducer:
    return Reproducer.load(options.file, own_code(options))
