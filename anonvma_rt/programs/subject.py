"""A compiled program of the user's, for every verb: `native("queue.c")` is what load() is for scenarios.

Its parameters are the macros that its sources give a number to where nobody else does (#ifndef N, #define N 3), and
those that -p names: each is -DN=value. The text that a reproducer keeps has the names and digests of the sources, the
flags and the compiler, and no code.
"""

import ctypes
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.run.records import Recorded
from anonvma_rt.engine.run.subject import MOST_TASKS
from anonvma_rt.engine.strategy.random import Random
from anonvma_rt.errors import ScenarioError, UserError, among, quote
from anonvma_rt.own.history import name_of_object, names_of_tasks
from anonvma_rt.programs.build import PLACES, Built, Sources, build, compiler_of, is_program, must_be_a_file
from anonvma_rt.programs.image import Image
from anonvma_rt.programs.symbols import Symbols
from anonvma_rt.programs.telling.trace import NativeTrace
from anonvma_rt.programs.words import Native as NativeProgramSubject
from anonvma_rt.subjects.variants import BoundVariants, Variant, WithVariants
from anonvma_rt.text.expected import Expected
from anonvma_rt.text.files import read_text
from anonvma_rt.text.parameters import Parameter
from anonvma_rt.text.toml import load_toml

__all__ = ["RACES", "Native", "NativeProgram", "is_native", "native", "native_named_in"]

ONLY_VARIANT = "program"
# What becomes of two plain accesses that nothing orders; the first is usual.
RACES = ("report", "point", "ignore")
MACRO = re.compile(r"^[ \t]*#[ \t]*ifndef[ \t]+(\w+)[ \t]*\n[ \t]*#[ \t]*define[ \t]+\1[ \t]+(\d+)[ \t]*$", re.M)
# What a file may say to the compiler and the linker.
FLAG = re.compile(r"-(D\w+(=[-\w.]*)?|U\w+|O[0-3sgz]?|g[0-3]?|std=[\w+]+|W[a-z][a-z-]*|w|pthread|l\w+|m(32|64))")
NAME = re.compile(r"[A-Za-z_]\w*")
# Executions by which the number of threads is found out, and steps of each.
PROBES, PROBE_STEPS = 32, 20_000


def native(
    *files: str | Path,
    cflags: Sequence[str] = (),
    link: Sequence[str] = (),
    args: Sequence[str] = (),
    expect: Expected | None = None,
    races: str = "report",
) -> "Native":
    """A program in C or C++ as it stands, for hunt() and the others: its files (.c, .cc, .cpp, .o), which are compiled
    with gcc, or CC and CXX.

    cflags: of the compiler, behind the lab's own (-O1 -gdwarf-4); link: of the linker, as "-lm"; args: of main, without its
    first. expect: the kind of violation that it has, several of which any may come, or "none". races: two plain
    accesses that nothing orders are a violation ("report"); or wherever accesses race they are steps of their own
    ("point"); or nobody looks ("ignore"). Raises UserError, with the compiler's own message where it does not compile.

    >>> native("nowhere.c")
    Traceback (most recent call last):
    ...
    anonvma_rt.errors.UserError: "nowhere.c": there is no such file
    """
    names = tuple(str(file) for file in files)
    if not names:
        raise UserError("a program has at least one file")
    for name in names:
        if not is_program(name):
            raise UserError(f"{quote(name)} is no program: its files end in .c, .cc, .cpp, .cxx or .o")
        must_be_a_file(name)
    among("--races", races, RACES)
    sources = Sources(names, tuple(cflags), tuple(link))
    return Native(
        name="+".join(Path(name).name for name in names),
        about=f"a program: {', '.join(names)}",
        parameters=_with_flags(_macros(names), cflags),
        variants={ONLY_VARIANT: Variant(ONLY_VARIANT, {})},
        expect={} if expect is None else {ONLY_VARIANT: expect},
        strategy="",
        text=_text(sources, args, races, None),
        source=names[0],
        sources=sources,
        arguments=tuple(args),
        races=races,
    )


def is_native(text: str, source: str) -> bool:
    """Whether a text that a reproducer keeps names a program (it has the key `program`). Raises ScenarioError."""
    return "program" in load_toml(text, source)


def native_named_in(text: str, source: str) -> str:
    """The name of the program in such a text; nothing is compiled."""
    return str(load_toml(text, source)["program"])


@dataclass(frozen=True)
class Native(WithVariants):
    """What is known of a program; made by native()."""

    name: str
    about: str
    parameters: dict[str, Parameter]
    variants: dict[str, Variant]
    expect: dict[str, Expected]
    strategy: str
    text: str = field(repr=False)
    source: str
    sources: Sources
    arguments: tuple[str, ...]
    races: str = "report"
    # Where accesses are steps of their own, if that is known already.
    points: tuple[int, ...] | None = None

    def as_it_was(self, text: str, source: str) -> "Native":
        """The program of which a file has the text, with the flags and arguments that stand there. Raises
        ScenarioError where a source or the compiler is another by now."""
        was = load_toml(text, source)
        flags = {key: tuple(str(word) for word in was.get(key, ())) for key in ("cflags", "link", "args")}
        for flag in (*flags["cflags"], *flags["link"]):
            # A compiler can be told to run anything.
            if not FLAG.fullmatch(flag) and flag not in (*self.sources.cflags, *self.sources.link):
                raise ScenarioError(f"{source}: no file may give a compiler the flag {quote(flag)}: hunt it again")
        again = self.with_flags(flags["cflags"], flags["link"], flags["args"], was.get("races", RACES[0]))
        if "points" in was:
            again = again.with_points(_points(was["points"], source))
        if again.text == text:
            return again
        now = load_toml(again.text, source)
        changed = sorted(name for name, digest in was.get("files", {}).items() if now["files"].get(name) != digest)
        what = f"{', '.join(changed)} changed" if changed else "the compiler is another"
        raise ScenarioError(f"{source}: {what} since this was written: hunt it again")

    def with_flags(
        self, cflags: Sequence[str], link: Sequence[str], args: Sequence[str], races: str = "report"
    ) -> "Native":
        """The same files with other flags of the compiler and of the linker, other arguments of main, and so on."""
        expect = self.expect.get(ONLY_VARIANT)
        return native(*self.sources.files, cflags=cflags, link=link, args=args, expect=expect, races=races)

    def with_points(self, points: Iterable[int]) -> "Native":
        """The same with these places as points."""
        known = tuple(sorted(points))
        return replace(self, points=known, text=_text(self.sources, self.arguments, self.races, known))

    def bind(self, values: Mapping[str, str | int | bool]) -> "NativeProgram":
        """The program with these macros, which may be text. Raises UserError, also where it does not compile."""
        known = dict(self.parameters)
        for name, value in values.items():
            if name not in known:
                if not NAME.fullmatch(name):
                    raise UserError(f"{self.source}: {quote(name)} is no name of a macro")
                if isinstance(value, str) and not value.lstrip("-").isdigit():
                    raise UserError(f"{self.source}: -p {name}={value}: the value of a macro is a whole number here")
                known[name] = Parameter(name, int(value))
        # A macro of which the sources say nothing is set only where it was asked for.
        described = replace(self, parameters=known)
        bound = described.bind_values(values)
        built = build(self.sources, bound.every)
        if self.races == "point" and self.points is None:
            described = described.with_points(_racing(built, self.arguments))
        return NativeProgram(described, bound.every, built)


@dataclass(frozen=True)
class NativeProgram(BoundVariants):
    """A program with values for its macros, compiled."""

    VALUE: ClassVar[str] = "variable"

    scenario: Native
    parameters: dict[str, int | bool]
    built: Built
    # What was made of it, and may have seen places that race.
    made: list[NativeProgramSubject] = field(default_factory=list, compare=False, repr=False)

    @property
    def interesting(self) -> tuple[str, ...]:
        return ()

    def with_interesting(self, names: Iterable[str]) -> "NativeProgram":
        for name in names:
            raise UserError(f"{self.scenario.source}: {quote(name)}: a program has no names of operations")
        return self

    def usual(self) -> list[str]:
        return [ONLY_VARIANT]

    def make_subject(self, algorithm: Variant | str) -> NativeProgramSubject:
        self.choose(algorithm)
        family = _family(self.built, self.scenario.arguments)
        return self._subject(len(family) + 1, family)

    def _subject(self, tasks: int, family: Sequence[tuple[int, int]] = ()) -> NativeProgramSubject:
        mode = "collect" if self.scenario.races == "point" else self.scenario.races
        made = _made(self.built, self.scenario.arguments, tasks, family, mode, self.scenario.points or ())
        if mode == "collect":
            self.made.append(made)
        return made

    def with_more_points(self) -> "NativeProgram | None":
        """See protocols.Bound: where accesses were seen to race that are no points yet."""
        known = set(self.scenario.points or ())
        seen = {place for one in self.made for place in one.found}
        self.made.clear()
        return replace(self, scenario=self.scenario.with_points(known | seen)) if seen - known else None

    def unannounced(self, variant: Variant) -> str:
        if self.scenario.races == "ignore":
            return "nobody looked for data races (--races ignore)"
        if any(one.unplaced for one in self.made):
            return "an access races with what the program synchronises with"
        return ""

    @property
    def only_in_turns(self) -> str:
        return "the locks of a program are the lab's, whose threads take turns (use --carrier threads)"

    def fail(self, failing: Any) -> "NativeProgram":
        raise UserError(f"{self.scenario.source}: --fail-alloc is about the kernel's allocations, and it is no kernel")

    def refusal(self, task: int, step: int, errno: int) -> ScenarioError:
        if step == 1:
            return ScenarioError(
                f"{self.scenario.source}: it began more threads than in the executions by which they were counted "
                f"({len(_family(self.built, self.scenario.arguments)) + 1}, or {MOST_TASKS}, which is the most)"
            )
        call = (ctypes.string_at(errno) if errno else b"?").decode(errors="replace")
        return ScenarioError(f"{self.scenario.source}: thread {task} calls {call}(), which a program cannot do here")

    def values(self, explorer: Explorer) -> Mapping[str, int]:
        found: Mapping[str, int] = explorer.subject.values(explorer)
        return found

    def looks_again(self, recorded: Recorded, explorer: Explorer) -> bool:
        return True

    def trace(self, recorded: Recorded, explorer: Explorer, before: None) -> NativeTrace:
        return NativeTrace.of_program(recorded, explorer.subject)

    def task_names(self) -> list[str]:
        return names_of_tasks(self.make_subject(ONLY_VARIANT))

    def lock_names(self, explorer: Explorer) -> Callable[[int], str]:
        subject = explorer.subject
        return lambda offset: name_of_object(subject, offset)

    def state(self, explorer: Explorer, trace: NativeTrace) -> str:
        return "\n".join([super().state(explorer, trace), *trace.positions()])


# ---- loaded ----------------------------------------------------------------------------------------------------------

# What is loaded, by place. An explorer has an image for itself, and afterwards it serves the next one of its program.
_loaded: list[tuple[str, Image] | None] = [None] * PLACES


def _image(built: Built) -> Image:
    """A loaded program that no explorer has."""
    for one in _loaded:
        if one is not None and one[0] == built.key and not one[1].used:
            return one[1]
    place = _free_place()
    path = built.at(place)
    try:
        image = Image(str(path))
    except OSError as error:
        raise UserError(f"the program cannot be loaded: {error}") from None
    _loaded[place] = built.key, image
    return image


def _free_place() -> int:
    """Where nothing is loaded, or nothing that anybody still uses."""
    if None in _loaded:
        return _loaded.index(None)
    for place, one in enumerate(_loaded):
        if one is not None and not one[1].used:
            one[1].close()
            _loaded[place] = None
            return place
    raise UserError(f"at most {PLACES} explorers of programs at a time")


def _made(
    built: Built,
    arguments: Sequence[str],
    tasks: int,
    family: Sequence[tuple[int, int]],
    races: str = "ignore",
    points: Iterable[int] = (),
) -> NativeProgramSubject:
    subject = NativeProgramSubject(_image(built), tasks, ["program", *arguments], family, races, points)
    subject.symbols = Symbols(subject.image)
    return subject


@cache
def _family(built: Built, arguments: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """Who begins which threads, found out by a few executions."""
    subject = _made(built, arguments, MOST_TASKS, ())
    with Explorer(subject, Random(), seed=0, carrier="fibers") as explorer:
        explorer.bound = PROBE_STEPS
        explorer.run(0, PROBES)
    return tuple(subject.family)


@cache
def _racing(built: Built, arguments: tuple[str, ...]) -> tuple[int, ...]:
    """Where accesses race in some executions in which those that are known to are points. What is missing, a search
    finds."""
    family = _family(built, arguments)
    points: set[int] = set()
    while True:
        subject = _made(built, arguments, len(family) + 1, family, "collect", points)
        with Explorer(subject, Random(), seed=0, carrier="fibers") as explorer:
            explorer.bound = PROBE_STEPS
            explorer.run(0, PROBES)
        if points.issuperset(subject.found):
            return tuple(sorted(points))
        points.update(subject.found)


def _points(points: Any, source: str) -> list[int]:
    """What a file says that the points are. Raises ScenarioError."""
    if not isinstance(points, list) or not all(type(one) is int and 0 <= one < 1 << 32 for one in points):
        raise ScenarioError(f"{source}: points is a list of places, which are numbers of 32 bits")
    return points


def _macros(names: Iterable[str]) -> dict[str, Parameter]:
    """The macros of the sources that may be given from outside, with the numbers that they have else."""
    found: dict[str, Parameter] = {}
    for name in names:
        if name.endswith(".o"):
            continue
        text = read_text(name)
        # What Cython writes has dozens, and none is the author's.
        if not text.startswith("/* Generated by Cython"):
            for macro, value in MACRO.findall(text):
                found[macro] = Parameter(macro, int(value), about=f"the macro of {Path(name).name}")
    return found


def _with_flags(macros: dict[str, Parameter], cflags: Sequence[str]) -> dict[str, Parameter]:
    """What the flags of the compiler say of a macro is what it is if -p does not say otherwise."""
    words = " ".join(cflags).replace("-D ", "-D").split()
    for name, value in re.findall(r"^-D(\w+)(?:=(.*))?$", "\n".join(words), re.M):
        if name in macros and (value or "1").isdigit():
            macros[name] = Parameter(name, int(value or "1"), about=macros[name].about)
        else:
            macros.pop(name, None)
    return macros


def _text(sources: Sources, arguments: Sequence[str], races: str, points: Sequence[int] | None) -> str:
    """TOML that says which program it is."""
    lines = [f"program = {json.dumps('+'.join(Path(file).name for file in sources.files))}"]
    for key, words in (("cflags", sources.cflags), ("link", sources.link), ("args", arguments)):
        lines.append(f"{key} = {json.dumps(list(words))}")
    if races != RACES[0]:
        lines.append(f"races = {json.dumps(races)}")
    if points is not None:
        lines.append(f"points = {json.dumps(list(points))}")
    lines.append(f"compiler = {json.dumps(compiler_of(sources))}")
    for file in sources.files:
        digest = hashlib.sha256(Path(file).read_bytes()).hexdigest()
        lines.append(f"files.{json.dumps(Path(file).name)} = {json.dumps(digest)}")
    return "\n".join(lines) + "\n"
