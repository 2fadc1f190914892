"""What the calls of a log mean to the lab: steps, one for most calls, or a reason why there is none.

TABLE (calls.py) has a row for every call that is about memory. This file knows who is who: which task makes a call,
which process that is, and what is mapped there by then.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from anonvma_rt.errors import UserError
from anonvma_rt.importing.logged import ASSUMED, NOT_SAID, Log, Logged, Note, Step, page_down, page_up, read_number
from anonvma_rt.importing.space import FREE, OTHER, SAID, Area, Space
from anonvma_rt.importing.strace import EXITED
from anonvma_rt.text.expression import PAGE

__all__ = ["MAIN", "TOUCHES", "Meaning"]

MAIN = "main"
TOUCHES = ("first", "all", "no")
MOST_NAMES = 20  # of calls, in one note
MOST_TOUCHED = 1 << 20  # pages
MOST_BYTES, MOST_PAGES = 1 << 47, 1 << 26  # of the address space, and of one call
NEVER_RETURNED = "it had not returned when the log ends"

PARTS = ("munmap", "mremap", "mprotect", "madvise")
# Whose effect is there from the beginning of the call on, for another task may have what it frees before it is over;
# that of any other call is there at its end.
AT_ONCE = ("munmap", "mremap", "clone", "clone3", "fork", "vfork", "exit", "exit_group")


class Meaning:
    """Steps of a log's calls. touch: what of a new mapping is touched, of TOUCHES. attached: the log begins in the
    middle of a program, which has memory by then."""

    def __init__(self, log: Log, touch: str, attached: bool, table: "Table") -> None:
        self.log, self.touch, self.attached, self.table = log, touch, attached, table
        self.steps: list[Step] = []
        self.notes: list[Note] = list(log.notes)
        self.processes: list[str] = [MAIN]
        self.spaces: dict[str, Space] = {MAIN: Space()}
        self.process_of: dict[str, str] = {}
        self.members: dict[str, set[str]] = {MAIN: set()}
        self.said: set[int] = set()
        self.refused: set[int] = set()
        self._assumed: dict[str, list[int]] = {}
        self._others: Counter[str] = Counter()
        self._touched = 0
        # Where a call begins whose range may be a part of a mapping.
        parts = (read_number(call.args[0]) or 0 for call in log.calls if call.name in PARTS and call.args)
        self.borders = sorted({page_down(at) for at in parts})

    def read(self) -> None:
        """All calls."""
        ends = any(call.name == EXITED for call in self.log.calls)
        if self.log.start:
            at, size, who = self.log.start
            self.spaces[MAIN].put(at, at + size, Area(SAID))
            nobody = Logged(self.log.calls[0].task if self.log.calls else "", "mmap", (), None, "", 0, 0, "")
            self.step(nobody, MAIN, "mmap", ("",), at=at, pages=size // PAGE)
            self.assume(f"{who} maps {size >> 20} MiB at {at:#x} before the first call", 0)
        for call in sorted(self.log.calls, key=_order):
            self.process(call)
            if ends and call.name in ("exit", "exit_group"):
                continue
            self._write(call)
            meaning = self.table.get(call.name)
            if meaning is None:
                self._others[call.name] += 1
            elif isinstance(meaning, str):
                self.refuse(call, meaning)
            elif self.log.sure and call.result is None and not call.name.startswith("exit"):
                again = call.errno.startswith("ERESTART")
                self.refuse(call, "a signal interrupted it, and it is made again" if again else NEVER_RETURNED)
            else:
                for _ in range(call.times):
                    meaning(self, call)
        self._conclude()

    def _conclude(self) -> None:
        if self._touched and self.touch != "no":
            what = "at the first page of each part that a call names" if self.touch == "first" else "as a whole"
            self.notes.append(Note(ASSUMED, 0, "", f"what is mapped is touched {what}: the log does not say who does"))
        for reason, lines in self._assumed.items():
            some = ", ".join(map(str, lines[:8])) + (f" and {len(lines) - 8} more" if len(lines) > 8 else "")
            where = f"{reason} (line{'s' if len(lines) > 1 else ''} {some})" if lines != [0] else reason
            self.notes.append(Note(ASSUMED, 0, "", where))
        if self._others:
            names = ", ".join(f"{name} {count}" for name, count in self._others.most_common(MOST_NAMES))
            names += ", ..." if len(self._others) > MOST_NAMES else ""
            self.notes.append(Note(NOT_SAID, 0, "", f"{self._others.total()} calls are not about memory: {names}"))
        self.notes.sort(key=lambda note: (note.kind != NOT_SAID, note.line))

    # ---- who is who ------------------------------------------------------------------------------------------------

    def process(self, call: Logged) -> str:
        """The process whose memory a call is about."""
        task = call.task
        if task not in self.process_of:
            process = MAIN
            birth = self.log.births.get(task)
            if birth is not None and birth.parent in self.process_of:
                # The call that makes it could not be said, or the log has it later.
                process = self.process_of[birth.parent]
            elif self.log.sure and self.process_of:
                self.assume(
                    f"task {task} began before the log: it is taken for a thread of the first process", call.line
                )
            self.join(task, process)
        return self.process_of[task]

    def join(self, task: str, process: str) -> None:
        self.process_of[task] = process
        self.members[process].add(task)

    def new_process(self, name: str, space: Space) -> str:
        """Its name."""
        if name in self.spaces:
            name = f"{name}-{len(self.processes)}"
        self.processes.append(name)
        self.spaces[name], self.members[name] = space, set()
        return name

    def leave(self, call: Logged, task: str) -> None:
        """A task has no memory any more. With the last one of a process its memory goes, too."""
        process = self.process_of[task]
        members = self.members[process]
        members.discard(task)
        if not members and self.spaces[process].used:
            self.step(call, process, "exit", ("",))

    # ---- what comes of a call --------------------------------------------------------------------------------------

    def say(self, call: Logged, verb: str, **values: int | bool | str) -> bool:
        """A step for this call; False, and a note, where its numbers are beyond what a scenario can say."""
        errnos = (call.errno,) if call.errno else ("",) if self.log.sure else ()
        step = self._step(call, self.process(call), verb, errnos, values)
        for address, length in step.ranges():
            if (
                int(step.values[length]) > MOST_PAGES
                or int(step.values[address]) + int(step.values[length]) * PAGE > MOST_BYTES
            ):
                self.refuse(
                    call, f"the range is beyond 2**47 bytes, or longer than 2**{MOST_PAGES.bit_length() - 1} pages"
                )
                return False
        self.steps.append(step)
        self.spaces[step.process].used = True
        self.said.add(call.line)
        return True

    def step(self, call: Logged, process: str, verb: str, errnos: tuple[str, ...], **values: int | bool | str) -> None:
        """One that belongs to a call, and is not the call itself."""
        self.steps.append(self._step(call, process, verb, errnos, values))
        self.spaces[process].used = True

    def _step(
        self, call: Logged, process: str, verb: str, errnos: tuple[str, ...], values: dict[str, int | bool | str]
    ) -> Step:
        # "from" is a word of Python's, so it cannot be the name of an argument.
        keys = {name.rstrip("_"): value for name, value in values.items()}
        return Step(verb, process, keys, errnos, call.task, call.line, _order(call)[0])

    def refuse(self, call: Logged, reason: str) -> None:
        """Tells why a call is not in the scenario: once, of one that is made again and again."""
        note = Note(NOT_SAID, call.line, call.text, reason)
        if self.notes[-1:] != [note]:
            self.notes.append(note)
        self.refused.add(call.line)

    def assume(self, reason: str, line: int) -> None:
        lines = self._assumed.setdefault(reason, [])
        if line not in lines[-1:]:
            lines.append(line)

    def why_not(self, space: Space, start: int, end: int) -> str:
        """Why nothing can be said of memory that is not in the scenario."""
        for _, _, area in space.pieces(start, end):
            if area.kind not in (SAID, FREE):
                made = "could not be said" if area.kind == OTHER else "gave nobody a right to it"
                return f"the memory is what line {area.line} mapped, which {made}"
        return "the log does not show who mapped that memory: the kernel itself, or somebody before the log begins"

    def find(self, call: Logged, start: int, end: int) -> None:
        """A call succeeded here, so there was something before the log, if the log does not say what."""
        if not self.attached or not self.log.sure or call.errno or self.process(call) != MAIN:
            return
        for at, to in self.spaces[MAIN].unseen(start, end):
            first = replace(call, name="mmap", line=call.line, end=0)
            self.step(first, MAIN, "mmap", ("",), at=at, pages=(to - at) // PAGE)
            self.touch_new(first, at, (to - at) // PAGE, True)
            for space in self.spaces.values():
                if space.unseen(at, to) == [(at, to)]:
                    space.put(at, to, Area(SAID, call.line))
            self.assume("memory that a call finds is taken for private and anonymous, mapped before the log", call.line)

    # ---- accesses --------------------------------------------------------------------------------------------------

    def touch_new(self, call: Logged, at: int, pages: int, writable: bool | None, whole: bool = False) -> None:
        """A range was mapped, or got its first rights. whole: by MAP_POPULATE, so the log does say it."""
        if writable is None:
            return
        if whole or (self.touch == "all" and pages):
            self._access(call, at, pages, writable)
        elif self.touch == "first" and pages:
            end = at + pages * PAGE
            inside = self.borders[bisect_right(self.borders, at) : bisect_left(self.borders, end)]
            for page in (at, *inside):
                self._access(call, page, 1, writable)

    def _access(self, call: Logged, at: int, pages: int, writable: bool) -> None:
        self._touched += pages
        if self._touched > MOST_TOUCHED:
            raise UserError(f"more than {MOST_TOUCHED} pages would be touched: use --fold, or --touch first")
        verb = "touch" if writable else "read"
        self.step(call, self.process(call), verb, ("",) if self.log.sure else (), at=at, pages=pages)

    def _write(self, call: Logged) -> None:
        """The executor writes the arguments of a call."""
        space = self.spaces[self.process(call)]
        for address, size in call.writes:
            at = page_down(address)
            pages = page_up(address + size - at) // PAGE
            if all(area.kind == SAID and area.writable is not None for *_, area in space.pieces(at, at + pages * PAGE)):
                self.step(call, self.process(call), "touch", (), at=at, pages=pages)


Table = dict[str, Callable[[Meaning, Logged], None] | str]


def _order(call: Logged) -> tuple[int, int]:
    return (call.line if call.name in AT_ONCE else call.end), call.line
