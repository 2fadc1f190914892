"""The history of an execution of a litmus test: its steps as they are written, with the values that they read."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from anonvma_rt.engine.run.explorer import EVENT, OPS, Explorer
from anonvma_rt.engine.run.records import Recorded
from anonvma_rt.litmus.compile import Code
from anonvma_rt.subjects.history import Event, Trace

__all__ = ["LitmusTrace"]

READS = ("load", "get", "trylock", "cas")


@dataclass
class LitmusTrace(Trace):
    """steps: the lines of each task. The event of a made step has its number in `a` and its value in `b`."""

    steps: Sequence[Sequence[str]] = field(default_factory=list)
    steps_are_told: ClassVar[bool] = True

    @classmethod
    def of_code(cls, recorded: Recorded, explorer: Explorer, code: Code) -> "LitmusTrace":
        """From what the explorer of one variant has just recorded."""
        threads = {thread.name: [one.text for one in thread.instructions] for thread in code.threads}
        kinds = explorer.subject.kinds()
        objects = {offset: name for name, offset in code.subject.ids(explorer).items()}
        events = []
        for step, task, op, number, a, b, c in EVENT.iter_unpack(recorded.events):
            is_note = OPS[op] == "note"
            events.append(Event(step, task, OPS[op], is_note, *((number, a, 0) if is_note else (a, b, c))))
        finding = recorded.finding
        kind = kinds[finding.kind] if finding else None
        trace = cls(events, list(threads), {}, {}, finding, kind, objects.get, steps=list(threads.values()),
                    pending=recorded.pending)  # fmt: skip
        if finding is None:
            return trace
        if kind == "assertion":
            forbidden = code.forbidden[finding.a]
            values = ", ".join(f"{n} = {value}" for n, value in code.final(explorer).items() if n in forbidden.words)
            trace.told = f"The end is one that must not be, {forbidden.text}: {values}."
        elif kind == "deadlock":
            waiting = [f'{trace.task(i)} is at "{trace.next_step(i)}"' for i in range(64) if finding.a >> i & 1]
            trace.told = f"Nobody can go on: {'; '.join(waiting)}."
        elif kind in ("bad-unlock", "use-after-free", "list-corruption"):
            at, step = finding.task, finding.step
            trace.told = f"{trace.task(at)} stopped at step {step}, in '{trace.next_step(at)}': {kind}."
        return trace

    def next_step(self, task: int) -> str:
        """What the task would have done next; each step that it made left a note."""
        made = sum(1 for event in self.events if event.is_note and event.task == task)
        return self.steps[task][made] if made < len(self.steps[task]) else "end"

    def object(self, offset: int) -> str:
        return self.name(offset) or f"object {offset}"

    def lock(self, offset: int) -> str:
        return self.object(offset)

    def _point(self, event: Event, full: bool) -> str | None:
        return "starts" if full and event.what == "start" else None

    def _note(self, e: Event, pfn: int | None, full: bool) -> str | None:
        line = self.steps[e.task][e.a]
        verb, _, rest = line.partition(" ")
        if verb in READS:
            name, *old, register = rest.split()
            return f"{' '.join([verb, name, *old])} -> {register} = {e.b}"
        if verb == "add":
            return f"{line} -> {e.b}"
        return line
