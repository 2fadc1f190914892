"""The history of an execution of a litmus test: its lines as they are written, with the values that they read."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.run.records import Recorded
from anonvma_rt.litmus.assemble import JUMPS, VERBS
from anonvma_rt.litmus.compile import Code, Thread
from anonvma_rt.litmus.expression import address
from anonvma_rt.litmus.lines import CONDITION, Instruction
from anonvma_rt.subjects.history import Event, Trace

__all__ = ["LitmusTrace"]

# Kinds of violations that a thread finds where it stands, of which there is no more to say.
STOPS = ("bad-unlock", "use-after-free", "list-corruption", "bad-pointer", "bad-value", "loop-bound")


@dataclass
class LitmusTrace(Trace):
    """threads: what each task does; the note of an instruction that was made has its number as code, and its value in
    `a`. objects: the names of locks and variables by their offsets; addresses: those of variables by what stands for
    them in other variables. end: the outcome that must not be, in words."""

    threads: Sequence[Thread]
    objects: dict[int, str]
    addresses: dict[int, str]
    end: str

    @classmethod
    def of_code(cls, recorded: Recorded, explorer: Explorer, code: Code) -> "LitmusTrace":
        """From what the explorer of one variant has just recorded."""
        objects = {offset: name for name, offset in code.subject.ids(explorer).items()}
        addresses = {address(at): f"&{name}" for at, name in enumerate(code.subject.names)}
        tasks = [thread.name for thread in code.threads]
        trace = cls.read(
            recorded,
            tasks,
            code.subject.kinds(),
            {},
            threads=code.threads,
            objects=objects,
            addresses=addresses,
            end="",
        )
        if trace.finding and trace.kind == "assertion":
            forbidden = code.forbidden[trace.finding.a]
            final = {name: trace.value(number) for name, number in code.final(explorer).items()}
            values = ", ".join(f"{name} = {value}" for name, value in final.items() if name in forbidden.words)
            trace.end = f"{forbidden.text}: {values}"
        return trace

    def cause(self) -> str | None:
        if self.finding is None:
            return None
        if self.kind == "assertion":
            return f"The end is one that must not be, {self.end}."
        _, task, step, a, other, at = self.finding
        if self.kind == "data-race":
            others = f"'{self.threads[other].instructions[at].text}' of {self.task(other)}"
            mine = f"'{self.next_line(task)}' of {self.task(task)}"
            return f"{mine} at step {step} and {others} race for {self.object(a)}: either could come first."
        if self.kind == "bad-value" and task < 0:
            return "What must not be at the end has no value: it divides by zero, or shifts too far."
        if self.kind in STOPS:
            return f"{self.task(task)} stopped at step {step}, in '{self.next_line(task)}': {self.kind}."
        return super().cause()

    def waiting(self, task: int, does: str = "is at") -> str:
        return f'{self.task(task)} {does} "{self.next_line(task)}"{self.held_by(task)}'

    def next_line(self, task: int) -> str:
        """What the task would have done next; each instruction that it has made left a note, but for labels."""
        instructions = self.threads[task].instructions
        last = next((event for event in reversed(self.events) if event.is_note and event.task == task), None)
        at = 0 if last is None else last.code + 1
        if last is not None and instructions[last.code].words[0] in JUMPS and last.a:
            at = instructions.index(Instruction(("label", instructions[last.code].words[-1]), ""))
        left = [one.text for one in instructions[at:] if one.words[0] != "label"]
        return left[0] if left else "end"

    def value(self, number: int) -> str:
        """A number, or the variable whose address it is."""
        return self.addresses.get(number, str(number))

    def object(self, offset: int) -> str:
        return self.objects.get(offset, f"object {offset}")

    def tells(self, lock: int) -> bool:
        return False

    def marks(self) -> list[tuple[Event, str]]:
        """The lines on the names that the verdict speaks of, and on those that they were read from."""
        rows = super().marks()
        names = _names(self.cause() or "")
        names |= {name for _, text in rows if names & _names(text) for name in _names(text)}
        return [(event, text) for event, text in rows if names & _names(text)] or rows

    def _point(self, event: Event, full: bool) -> str | None:
        return "starts" if full and event.what == "start" else None

    def note(self, event: Event, full: bool) -> str | None:
        one = self.threads[event.task].instructions[event.code]
        verb, value = one.words[0], self.value(event.a)
        if one.text == "" or verb == "label":
            return None
        if verb == "let" and one.words[1] == CONDITION:
            return f"{one.text} -> {'yes' if event.a else 'no'}"
        if verb in ("let", "add"):
            return f"{one.text} -> {value}"
        if VERBS[verb][2].endswith("r"):
            return f"{one.text[: one.text.rindex(' ')]} -> {one.words[-1]} = {value}"
        return one.text


def _names(text: str) -> set[str]:
    """The names in a text, without the verbs that act on them."""
    return set(re.findall(r"[A-Za-z_]\w*", text)) - set(VERBS)
