"""import_scenario: the text of a log to the text of a scenario, and remarks about what is not in it.

The scenario is written by a Recording, as one that is made by hand. Before that all steps are made on Machines, one
after the other, so that the file says of each what the lab's own kernels may return.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from errno import errorcode

from anonvma_rt.errors import UserError, among, at_least
from anonvma_rt.importing.calls import TABLE
from anonvma_rt.importing.fold import fold
from anonvma_rt.importing.logged import ASSUMED, NOT_SAID, Log, Note, Step
from anonvma_rt.importing.meaning import TOUCHES, Meaning
from anonvma_rt.importing.race import Race, choose_race
from anonvma_rt.importing.strace import looks_like_strace, read_strace
from anonvma_rt.importing.syzkaller import looks_like_syzkaller, read_syzkaller
from anonvma_rt.kernel.algorithm import PRESETS, Algorithm
from anonvma_rt.kernel.machine import Machine, Process
from anonvma_rt.kernel.recording import Recording, rehearse
from anonvma_rt.kernel.scenario_file import MOST_STEPS
from anonvma_rt.linux.table import RELEASES
from anonvma_rt.text.expression import PAGE

__all__ = ["FORMATS", "ImportOptions", "Imported", "NothingSaid", "import_scenario"]

FORMATS: Mapping[str, tuple[Callable[[str], bool], Callable[[str], Log]]] = {
    "strace": (looks_like_strace, read_strace),
    "syzkaller": (looks_like_syzkaller, read_syzkaller),
}
USUAL = "moveto-tail"  # the algorithm on whose machine one looks which pages are there
MOST_LOOKED_AT = 1 << 20  # pages
MOST_RANGES = 500
MOST_COMMENTS = 2000
# What a step may return beside what the log says, where another thread may be faster.
RACING = {
    "mmap": ("ENOMEM",),
    "munmap": ("ENOMEM",),
    "mprotect": ("ENOMEM",),
    "dontneed": ("ENOMEM",),
    "brk": ("ENOMEM",),
    "touch": ("EFAULT",),
    "read": ("EFAULT",),
    "mremap": ("EFAULT", "ENOMEM"),
}


@dataclass(frozen=True)
class ImportOptions:
    """What import_scenario is to make of a log.

    name: of the scenario. format: of FORMATS; None: guessed. fold: areas come close together. race_from, tasks,
    threads: see choose_race(). migrate: a thread more, which migrates a page (the parameter `page` says which). touch:
    which pages of a new mapping are touched, of TOUCHES. attached: the log begins in the middle (strace -p), so what a
    call finds, and nobody mapped, is taken for private anonymous memory.
    """

    name: str = "imported"
    format: str | None = None
    fold: bool = False
    race_from: int | None = None
    tasks: tuple[str, ...] = ()
    threads: int | None = None
    migrate: bool = False
    touch: str = "first"
    attached: bool = False

    def check(self) -> None:
        if self.format is not None:
            among("format", self.format, FORMATS)
        among("choice of touched pages", self.touch, TOUCHES)
        if self.race_from is not None:
            at_least("race_from", self.race_from)
        if self.threads is not None:
            at_least("threads", self.threads)
            if self.race_from is not None or self.tasks:
                raise UserError("the last calls race, or what some tasks do from some line on: omit one of them")


class NothingSaid(UserError):
    """No call of a log can be said. notes: why not, one by one."""

    def __init__(self, message: str, notes: Iterable[Note]) -> None:
        super().__init__(message)
        self.notes = tuple(notes)


@dataclass(frozen=True)
class Imported:
    """text: the scenario. notes: what is not in it, and what was assumed. said: how many of `calls`, the calls of the
    log that are about memory, are in it."""

    text: str
    notes: tuple[Note, ...]
    said: int
    calls: int

    def as_dict(self) -> dict[str, object]:
        notes = [note._asdict() for note in self.notes]
        return {"scenario": self.text, "notes": notes, "said": self.said, "calls": self.calls}


def import_scenario(text: str, how: ImportOptions | None = None) -> Imported:
    """The scenario of a log. Raises UserError where nothing of it can be said, and for an option that does not fit.

    >>> log = '''mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x70000000
    ... mremap(0x70000000, 8192, 8192, MREMAP_MAYMOVE|MREMAP_FIXED, 0x71000000) = 0x71000000
    ... munmap(0x71000000, 4096) = 0'''
    >>> imported = import_scenario(log)
    >>> imported.said, imported.calls
    (3, 3)
    >>> from anonvma_rt import Scenario
    >>> Scenario.from_text(imported.text).thread_names()
    ['mremap-2', 'munmap-3']
    """
    how = how or ImportOptions()
    how.check()
    log = FORMATS[how.format or _guess(text)][1](text)
    meaning = Meaning(log, how.touch, how.attached, TABLE)
    meaning.read()
    notes, calls = meaning.notes, len(meaning.said | meaning.refused)
    if not meaning.said - meaning.refused:
        raise NothingSaid(f"nothing of the {calls} calls of the log about memory can be said", notes)
    race = choose_race(meaning.steps, log, how.race_from, how.tasks, how.threads, how.migrate)
    steps = [*race.setup, *(step for part in race.threads.values() for step in part)]
    if len(steps) + MOST_RANGES > MOST_STEPS:
        raise UserError(f"the log has {len(steps)} steps, at most {MOST_STEPS - MOST_RANGES} are right: cut it")
    moved = fold(steps, how.fold)
    if moved:
        race.assume(moved)
    said = len((meaning.said - meaning.refused) & {step.line for step in steps})
    writer = _Writer(how.name, f"{said} of {calls} calls of a log", meaning.processes, race)
    if how.migrate:
        writer.migrate()
    differs = writer.rehearse()
    notes = sorted([*notes, *race.notes, *differs], key=lambda note: (note.kind != NOT_SAID, note.line))
    lines = [f"# {note}" for note in notes[:MOST_COMMENTS]]
    if len(notes) > MOST_COMMENTS:
        lines.append(f"# and {len(notes) - MOST_COMMENTS} more")
    return Imported("\n".join([*lines, writer.text()]), tuple(notes), said, calls)


def _guess(text: str) -> str:
    """The format of more lines than any other."""
    lines = text.splitlines()[:2000]
    found = {name: sum(map(looks_like, lines)) for name, (looks_like, _) in FORMATS.items()}
    best = max(found, key=lambda name: found[name])
    if not found[best]:
        raise UserError(f"no line looks like one of {' or '.join(FORMATS)} (--format says which it is)")
    return best


class _Writer:
    """Writes a race as a Recording. errnos: of each step, by its place."""

    def __init__(self, name: str, about: str, processes: Iterable[str], race: Race) -> None:
        self.name, self.about, self.race = name, about, race
        self.steps = [*race.setup, *(step for part in race.threads.values() for step in part)]
        used = {step.process for step in self.steps} | {str(step.values.get("child")) for step in self.steps}
        self.processes = [process for process in processes if process in used]
        self.errnos: list[list[str]] = [[*step.errnos] or [""] for step in self.steps]
        self.pages: list[tuple[str, int]] = []
        self.not_everywhere: set[tuple[str, int]] = set()

    def recording(self) -> Recording:
        recording = Recording(self.name, self.about)
        for process in self.processes:
            recording.process(process)
        if self.pages:
            about = "which page migrates, of those that are there when the race begins"
            recording.parameter("page", self.first_page(), len(self.pages) - 1, about)
        rows = iter(zip(self.steps, self.errnos, strict=True))
        for _ in self.race.setup:
            _record(recording, *next(rows))
        for name, part in self.race.threads.items():
            with recording.thread(name):
                for _ in part:
                    _record(recording, *next(rows))
        if self.pages:
            with recording.thread("migrate"):
                self.record_pages(recording)
        return recording

    def text(self) -> str:
        return self.recording().toml()

    # ---- what the lab's own kernels return -------------------------------------------------------------------------

    def rehearse(self) -> list[Note]:
        """Makes all steps in the order of the log, on a machine of every preset and release, and adds what they return
        to the errnos. Returns notes on what is not as the log has it."""
        bound = self.recording().scenario().bind({})
        setup = len(bound.setup)
        # The thread that migrates comes last, and has no step of the log.
        calls = [*bound.setup, *(call for thread in bound.threads for call in thread.calls)][: len(self.steps)]
        order = sorted(range(setup, len(calls)), key=lambda at: (self.steps[at].order, self.steps[at].line))
        found: list[set[str]] = [set() for _ in calls]
        for algorithm in _algorithms():
            machine = self.machine(algorithm)
            errnos = rehearse(calls[:setup], machine)
            self.not_everywhere |= {page for page in self.pages if not _frame(self.process(machine, page[0]), page[1])}
            errnos += rehearse([calls[at] for at in order], machine)
            for at, errno in zip([*range(setup), *order], errnos, strict=False):
                found[at].add(errorcode.get(errno, "") if errno else "")
        notes = []
        several = len(self.race.threads) > 1
        for at, step in enumerate(self.steps):
            said = set(step.errnos)
            if said and not said & found[at] and found[at]:
                lab = " or ".join(sorted(errno or "success" for errno in found[at]))
                log = " or ".join(errno or "success" for errno in step.errnos)
                reason = f"{step.verb}: the log says {log}, the lab's kernels say {lab}"
                notes.append(Note(ASSUMED, step.line, "", reason))
            racing = {"", *RACING.get(step.verb, ())} if several and at >= setup else set()
            self.errnos[at] = sorted(said | found[at] | racing) or [""]
        return notes

    def machine(self, algorithm: Algorithm | str) -> Machine:
        machine = Machine(algorithm)
        for _ in self.processes:
            machine.process()
        return machine

    # ---- the page that migrates ------------------------------------------------------------------------------------

    def migrate(self) -> None:
        """Adds a thread that migrates one of the pages that are there after the setup."""
        machine = self.machine(USUAL)
        setup = self.recording().scenario().bind({}).setup
        rehearse(setup, machine)
        gone = {step.process for step in self.race.setup if step.verb == "exit"}
        seen: set[int] = set()
        looked_at = 0
        for name in self.processes:
            process = self.process(machine, name)
            for vma in process.maps() if name not in gone else ():
                for at in range(vma.start, vma.end, PAGE):
                    looked_at += 1
                    frame = _frame(process, at) if looked_at < MOST_LOOKED_AT else 0
                    if frame and frame not in seen:
                        seen.add(frame)
                        self.pages.append((name, at))
        if not self.pages:
            why = "no page is there when the race begins, so none can migrate"
            raise UserError(f"{why} (--touch, or a later --race-from)")

    def process(self, machine: Machine, name: str) -> Process:
        return machine.processes[self.processes.index(name)]

    def first_page(self) -> int:
        """The number of one that the race is about, if there is one."""
        racing = [step for part in self.race.threads.values() for step in part]
        ranges = [
            (step.process, int(step.values[at]), int(step.values[at]) + int(step.values[size]) * PAGE)
            for step in sorted(racing, key=lambda step: step.verb != "mremap")
            for at, size in step.ranges()
        ]
        for whose, begin, end in ranges:
            for number, (process, at) in enumerate(self.pages):
                if process == whose and begin <= at < end:
                    return number
        return 0

    def record_pages(self, recording: Recording) -> None:
        """A step for each row of pages that are beside each other."""
        rows: list[list[int]] = []
        for number, page in enumerate(self.pages):
            before = self.pages[number - 1] if number else ("", 0)
            same = (page in self.not_everywhere) == (before in self.not_everywhere)
            if same and before == (page[0], page[1] - PAGE):
                rows[-1].append(number)
            else:
                rows.append([number])
        if len(rows) > MOST_RANGES:
            raise UserError(f"the pages that could migrate are in more than {MOST_RANGES} places: use --touch first")
        for first, *more in rows:
            process, at = self.pages[first]
            values: dict[str, int | str] = {"at": at, "when": f"page == {first}"}
            if more:
                values = {"at": f"{at:#x} + (page - {first})*PAGE", "when": f"{first} <= page and page <= {more[-1]}"}
            # Under another preset there may be no such page, and nothing to migrate.
            recording.record("migrate", process, values, ["", "EINVAL"] if (process, at) in self.not_everywhere else "")


def _algorithms() -> list[Algorithm]:
    """Every preset and release, each set of choices once."""
    names = [*PRESETS, *(f"linux-{release}" for release in RELEASES)]
    return list({tuple(one.as_dict().items()): one for one in map(Algorithm.parse, names)}.values())


def _frame(process: Process, at: int) -> int:
    """The page frame at an address; 0 where there is none, or the zero page."""
    pte = process.pte(at)
    return pte.pfn if pte.state == "present" else 0


def _record(recording: Recording, step: Step, errnos: list[str]) -> None:
    values = {
        key: value for key, value in step.values.items() if (key, value) != ("writable", True) or step.verb != "mmap"
    }
    line = f"line {step.line}" if step.line else "before the log"
    recording.record(step.verb, step.process, values, errnos if len(errnos) > 1 else errnos[0], line)
