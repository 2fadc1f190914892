"""A compiled program of the user's, for every verb: `native("queue.c")` is what load() is for scenarios.

Its parameters are the macros that its sources give a number to where nobody else does (#ifndef N, #define N 3), and
those that -p names: each is -DN=value. The text that a reproducer keeps has the names and digests of the sources, the
flags and the compiler, and no code.
"""

import ctypes
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Unpack

from anonvma_rt.engine.calls.calls import REFUSED_BY_JUDGE, Judging
from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.run.records import Recorded
from anonvma_rt.errors import MoreToKnow, ScenarioError, UserError, quote
from anonvma_rt.linear.specification import Linear
from anonvma_rt.own.history import name_of_object, names_of_tasks
from anonvma_rt.programs.asked import RACES, Asked, Wanted
from anonvma_rt.programs.build import Built, Sources, alone, build, is_program, must_be_a_file
from anonvma_rt.programs.image import MOST_THREADS
from anonvma_rt.programs.loaded import family_of, made, racing
from anonvma_rt.programs.telling.seen import look
from anonvma_rt.programs.telling.trace import NativeTrace
from anonvma_rt.programs.texts import joined, macros_of, text_of, with_flags
from anonvma_rt.programs.words import Native as NativeProgramSubject
from anonvma_rt.subjects.variants import BoundVariants, Variant, WithVariants
from anonvma_rt.text.expected import Expected
from anonvma_rt.text.parameters import Parameter
from anonvma_rt.text.toml import load_toml

__all__ = ["RACES", "Native", "NativeProgram", "is_native", "native", "native_named_in"]

ONLY_VARIANT = "program"
# What a file may say to the compiler and the linker: nothing that names code to run, as a plugin or a library's folder.
FLAG = re.compile(
    r"-(D\w+(=[-\w.]*)?|U\w+|I[-\w./+]+|O[0-3sgz]?|g[0-3]?|std=[\w+]+|f[a-z][a-z-]*|W[a-z][a-z-]*|w|m(32|64)"
    r"|pthread|l\w+|Wl,-z,[a-z]+)"
)
NAME = re.compile(r"[A-Za-z_]\w*")
# Of a call that begins a thread (host.pxd): there is no number left for it; no execution had begun it before.
TOO_MANY, UNKNOWN = 1, 2


def native(
    *files: str | Path,
    cflags: Sequence[str] = (),
    link: Sequence[str] = (),
    expect: Expected | None = None,
    **wanted: Unpack[Wanted],
) -> "Native":
    """A program in C or C++ as it stands, for hunt() and the others: its files (.c, .cc, .cpp, .o), which are compiled
    with gcc, or CC and CXX.

    cflags: of the compiler, behind the lab's own (-O1 -gdwarf-4); link: of the linker, as "-lm". expect: the kind of
    violation that it has, several of which any may come, or "none". args: of main, without its first. races: two plain
    accesses that nothing orders are a violation ("report"); or wherever accesses race they are steps of their own
    ("point"); or nobody looks ("ignore"). late: how often a wait with a timeout may be late, of each thread, where
    something else could happen (3); spurious: how often it may wake at a condition variable for no reason (0). leaks:
    an object of the heap that nobody can free at the end is a violation. spec: what the operations that it calls
    (rt_call, rt_return) are to be like, one after the other: a class, "file.py:Class", or "file.c". Raises UserError,
    with the compiler's own message where it does not compile.

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
    sources = Sources(names, joined(cflags), joined(link))
    asked = Asked.of(wanted)
    return Native(
        name="+".join(Path(name).name for name in names),
        about=f"a program: {', '.join(names)}",
        parameters=with_flags(macros_of(names), sources.cflags),
        variants={ONLY_VARIANT: Variant(ONLY_VARIANT, {})},
        expect={} if expect is None else {ONLY_VARIANT: expect},
        strategy="",
        text=text_of(sources, asked),
        source=names[0],
        sources=sources,
        asked=asked,
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
    asked: Asked

    @property
    def needs(self) -> str:
        spec = self.asked.spec
        words = {"subject": "+".join(self.sources.files), "spec": spec.where if spec is not None else ""}
        for name, flags in (("cflags", self.sources.cflags), ("link", self.sources.link)):
            words[name] = shlex.join(flag for flag in flags if not FLAG.fullmatch(flag))
        # An option whose value begins with a dash is one word.
        return "".join(
            f" --{name}{'=' if '-' in word[:1] else ' '}{shlex.quote(word)}" for name, word in words.items() if word
        )

    def as_it_was(self, text: str, source: str) -> "Native":
        """The program of which a file has the text, with the flags and arguments that stand there. Raises
        ScenarioError where a source or the compiler is another by now."""
        was = load_toml(text, source)
        flags = {key: tuple(str(word) for word in was.get(key, ())) for key in ("cflags", "link")}
        for flag in (*flags["cflags"], *flags["link"]):
            # A compiler can be told to run anything.
            if not FLAG.fullmatch(flag) and flag not in (*self.sources.cflags, *self.sources.link):
                way = "--cflags" if flag in flags["cflags"] else "--link"
                raise ScenarioError(
                    f"{source}: no file may give a compiler the flag {quote(flag)}: if you trust it, say so with "
                    f'{way}="{flag}", or in Python to native()'
                )
        again = self.with_flags(flags["cflags"], flags["link"]).with_asked(Asked.read(was, source, self.asked.spec))
        if again.text == text:
            return again
        now = load_toml(again.text, source)
        changed = sorted(name for name, digest in was.get("files", {}).items() if now["files"].get(name) != digest)
        if (now.get("spec"), now.get("spec_sha256")) != (was.get("spec"), was.get("spec_sha256")):
            changed.append(f"the specification {was['spec']}")
        what = f"{', '.join(changed)} changed" if changed else "the compiler is another"
        raise ScenarioError(f"{source}: {what} since this was written: hunt it again")

    def with_flags(self, cflags: Sequence[str], link: Sequence[str]) -> "Native":
        """The same files with other flags of the compiler and of the linker."""
        return native(*self.sources.files, cflags=cflags, link=link, expect=self.expect.get(ONLY_VARIANT)).with_asked(
            self.asked
        )

    def with_asked(self, asked: Asked) -> "Native":
        """The same with other things asked."""
        return replace(self, asked=asked, text=text_of(self.sources, asked))

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
        if self.asked.races == "point" and self.asked.points is None:
            described = described.with_asked(replace(self.asked, points=racing(built, replace(self.asked, spec=None))))
        linear = None if self.asked.spec is None else Linear(self.asked.spec)
        return NativeProgram(described, bound.every, built, linear=linear)


@dataclass
class Seen:
    """What came up in executions: places where accesses race, whether one of them has none; threads that nobody knew;
    whether a thread might have been late once more; whether exit() ended one."""

    places: set[int] = field(default_factory=set)
    unplaced: bool = False
    births: set[tuple[int, int]] = field(default_factory=set)
    limited: bool = False
    exited: bool = False


@dataclass(frozen=True)
class NativeProgram(BoundVariants):
    """A program with values for its macros, compiled."""

    VALUE: ClassVar[str] = "variable"
    ONLY_SC: ClassVar[str] = "its own code makes the stores of a program, so they cannot be delayed"

    scenario: Native
    parameters: dict[str, int | bool]
    built: Built
    seen: Seen = field(default_factory=Seen, compare=False, repr=False)
    # Who judges what its operations returned.
    linear: Linear | None = field(default=None, compare=False, repr=False)
    named_places: tuple[str, ...] = ()

    @property
    def interesting(self) -> tuple[str, ...]:
        """Names of what its threads share; what is an interesting operation its code says (rt_mark)."""
        return self.named_places

    def with_interesting(self, names: Iterable[str]) -> "NativeProgram":
        return replace(self, named_places=tuple(names))

    def usual(self) -> list[str]:
        return [ONLY_VARIANT]

    def make_subject(self, algorithm: Variant | str) -> NativeProgramSubject:
        self.choose(algorithm)
        asked = self.scenario.asked
        mode = "collect" if asked.races == "point" else asked.races
        family = self._family()
        if len(family) >= MOST_THREADS:
            raise self.refusal(0, TOO_MANY, 0)
        subject = made(self.built, asked, len(family) + 1, family, mode, asked.points or ())
        if self.linear is not None:
            Judging(subject, self.linear)
        return subject

    def _family(self) -> tuple[tuple[int, int], ...]:
        """Who begins which threads, as far as it is known."""
        found = family_of(self.built, replace(self.scenario.asked, spec=None, points=None, births=()))
        return (*found, *(one for one in self.scenario.asked.births if one not in found))

    def learn(self, explorer: Explorer) -> None:
        """See protocols.Bound."""
        subject = explorer.subject
        self.seen.places.update(subject.found)
        self.seen.unplaced |= subject.unplaced
        self.seen.limited |= subject.limited
        self.seen.exited |= subject.exited

    def with_more_known(self) -> "NativeProgram | None":
        """See protocols.Bound: where accesses were seen to race that are no points yet, and threads that are new."""
        asked, seen = self.scenario.asked, self.seen
        points, births = set(asked.points or ()), set(asked.births)
        if seen.places <= points and seen.births <= births:
            return None
        more = replace(
            asked,
            points=tuple(sorted(points | seen.places)) if asked.points is not None else None,
            births=(*asked.births, *sorted(seen.births - births)),
        )
        return replace(self, scenario=self.scenario.with_asked(more), seen=Seen())

    def unannounced(self, variant: Variant) -> str:
        if self.scenario.asked.races == "ignore":
            return "nobody looked for data races (--races ignore)"
        if self.seen.unplaced:
            return "an access races with what the program synchronises with"
        if self.scenario.asked.leaks and self.seen.exited:
            return "nobody looked for leaks where exit() ended it"
        return self.linear.never_asked("rt_call") if self.linear is not None else ""

    @property
    def compared_with(self) -> str:
        return self.linear.specification.name if self.linear is not None else ""

    @property
    def within(self) -> str:
        """See protocols.Bound."""
        late, spurious = self.scenario.asked.late, self.scenario.asked.spurious
        bounds = [f"--late {late}"] if self.seen.limited else []
        return " and ".join(bounds + ([f"--spurious {spurious}"] if spurious else []))

    def alone(self) -> list[str]:
        """The command that runs it as a process of its own, with the system's threads. Raises UserError where it does
        not link without the lab."""
        if self.scenario.asked.spec is not None:
            raise UserError(f"{self.scenario.source}: a program alone is compared with no specification: omit spec")
        return [str(alone(self.scenario.sources, self.parameters)), *self.scenario.asked.args]

    def fail(self, failing: Any) -> "NativeProgram":
        raise UserError(f"{self.scenario.source}: --fail-alloc is about the kernel's allocations, and it is no kernel")

    def refusal(self, task: int, step: int, errno: int) -> ScenarioError:
        if step == REFUSED_BY_JUDGE:
            return ScenarioError(f"{self.scenario.source}: {ctypes.string_at(errno).decode(errors='replace')}")
        source, known = self.scenario.source, len(self._family()) + 1
        if step == UNKNOWN:
            self.seen.births.add((task, errno))
            return MoreToKnow(f"{source}: {known} threads are known, and it began another one: hunt it again")
        if step:
            most = f"{MOST_THREADS} threads, which is the most (each that waits with a timeout counts twice)"
            return ScenarioError(f"{source}: it has more than {most}")
        call = (ctypes.string_at(errno) if errno else b"?").decode(errors="replace")
        return ScenarioError(f"{self.scenario.source}: thread {task} calls {call}(), which a program cannot do here")

    def values(self, explorer: Explorer) -> Mapping[str, int]:
        return dict(explorer.subject.values(explorer))

    def looks_again(self, recorded: Recorded, explorer: Explorer) -> bool:
        explorer.subject.witness = look(explorer.subject, recorded)
        return True

    def trace(self, recorded: Recorded, explorer: Explorer, before: None) -> NativeTrace:
        witness, explorer.subject.witness = explorer.subject.witness, None
        return NativeTrace.of_program(recorded, explorer.subject, witness)

    def task_names(self) -> list[str]:
        return names_of_tasks(self.make_subject(ONLY_VARIANT))

    def lock_names(self, explorer: Explorer) -> Callable[[int], str]:
        subject = explorer.subject
        return lambda offset: name_of_object(subject, offset)

    def state(self, explorer: Explorer, trace: NativeTrace) -> str:
        return "\n".join([super().state(explorer, trace), *trace.positions()])
