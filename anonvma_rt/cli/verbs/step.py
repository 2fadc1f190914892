"""`step`: a small debugger for the execution of a reproducer, which goes back as well as forth."""

import argparse
import contextlib
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from anonvma_rt.cli import options as opt
from anonvma_rt.cli.ending import conclude, flush, say
from anonvma_rt.errors import UserError, nearest, printable, quote, reason
from anonvma_rt.execution.stepper import Stepper, find_task
from anonvma_rt.subjects.locks import locks_of

# The first letter, or these two, are enough.
COMMANDS = {
    "step": "[N]            make the next step of the schedule, or N of them",
    "back": "[N]            take back a step, or N of them",
    "goto": "N              to the state after step N; 0 is the beginning",
    "next": "TASK           run until the task has made a step",
    "on": "OBJECT           run until somebody has done something to it: page 9, anon_vma 1, ptl 0x40000000",
    "violation": "          to the end of the schedule, where the violation is",
    "where": "              what each task is about to do, and which locks it holds",
    "print": "THING         look at one thing; `print` alone lists the things, `print world` prints everything",
    "task": "TASK [N]       by hand: let another task make the next step (or N); the rest of the schedule is forgotten",
    "finish": "             by hand: let the rest run by itself, task after task",
    "save": "FILE           save what you made as a reproducer, if it violates something",
    "debugger": "           stay here with all threads, so that a debugger can be attached",
    "help": "               this",
    "quit": "               the end",
}
# What a task is about to do, where that is not the operation's name and its object.
ABOUT_TO = {"atomic": "update {} atomically"}


def run(options: argparse.Namespace) -> int:
    reproducer = opt.load_reproducer(options)
    asked = sys.stdin is not None and sys.stdin.isatty()
    if asked:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401 (input() edits lines once it is there)
    with Stepper(reproducer) as stepper:
        session = _Session(stepper, say=(lambda text: None) if options.json else say)
        session.greet()
        session.loop(asked, prompt="(step) " if asked and not options.json else "")
        document = {
            "position": stepper.position, "steps": stepper.length, "kind": stepper.kind, "over": stepper.over,
            "by_hand": stepper.by_hand, "saved": session.saved,
        }  # fmt: skip
    return conclude(options, lambda: document, None)


class _Session:
    """Reads commands and answers them. A script ends at its first wrong command; a person may go on."""

    def __init__(self, stepper: Stepper, say: Callable[[str], object]) -> None:
        self.stepper = stepper
        self.say: Callable[[str], object] = lambda text: say("\n".join(map(printable, text.split("\n"))))
        self.saved: str | None = None

    def greet(self) -> None:
        reproducer = self.stepper.reproducer
        name = f"{reproducer.scenario.name} under {reproducer.under(reproducer.algorithm.name)}"
        self.say(f"{name}: {self.stepper.length} steps, then {reproducer.kind}. `help` lists the commands.")
        self.say_position()

    def loop(self, asked: bool, prompt: str) -> None:
        """Until `quit` or the end of the input. Raises UserError for a wrong command of a script."""
        while True:
            if sys.stdin is None:  # closed before Python began
                return
            try:
                flush()
                line = input(prompt)
            except EOFError:
                return
            except KeyboardInterrupt:
                if not asked:
                    raise
                self.say("`quit` ends this; `save FILE` keeps what you made")
                continue
            try:
                words = shlex.split(line, comments=True)
            except ValueError as error:
                words = []
                if not asked:
                    raise UserError(f"{quote(line)}: {error}") from None
                self.say(f"{error}")
            if not words:
                continue
            try:
                if not self.obey(*words):
                    return
            except UserError as error:
                if not asked:
                    raise UserError(f"{quote(line.strip())}: {error}") from None
                self.say(str(error))

    def obey(self, word: str, *rest: str) -> bool:
        """Does one command; False at `quit`."""
        found = [name for name in COMMANDS if name.startswith(word)]
        if word in COMMANDS or len(found) == 1 or (found and len(word) == 1):
            name = word if word in COMMANDS else found[0]
        else:
            raise UserError(f"unknown command {quote(word)}{nearest(word, COMMANDS)}")
        if name == "quit":
            return False
        takes = {"step": (0, 1), "back": (0, 1), "goto": (1, 1), "next": (1, 1), "on": (1, 9), "print": (0, 9),
                 "task": (1, 2), "save": (1, 1)}.get(name, (0, 0))  # fmt: skip
        if not takes[0] <= len(rest) <= takes[1]:
            raise UserError(f"usage: {name} {COMMANDS[name].split('  ')[0]}".strip())
        getattr(self, f"do_{name}")(*rest)
        return True

    # ---- moving ------------------------------------------------------------------------------------------------------

    def do_step(self, steps: str = "1") -> None:
        before = self.stepper.position
        self.stepper.forward(_count(steps))
        self.say_events(before)

    def do_back(self, steps: str = "1") -> None:
        self.stepper.back(_count(steps))
        self.say_position()

    def do_goto(self, position: str) -> None:
        self.stepper.goto(_count(position, least=0))
        self.say_position()

    def do_next(self, task: str) -> None:
        number = find_task(self.stepper.tasks, task)
        before = self.stepper.position
        if not self.stepper.until(lambda event: event.task == number):
            raise UserError(f"{quote(self.stepper.tasks[number])} makes no more steps in this schedule")
        self.say_events(before)

    def do_on(self, *words: str) -> None:
        wanted = " ".join(words)
        trace = self.stepper.trace
        before = self.stepper.position

        def is_it(event: object) -> bool:
            offset = getattr(event, "a", 0)
            if getattr(event, "is_note", True) or not offset:
                return False
            return wanted in (trace.lock(offset), trace.object(offset)) or trace.object(offset).endswith(f" {wanted}")

        if not self.stepper.until(is_it):
            raise UserError(f"nobody does anything to {quote(wanted)} after this")
        self.say_events(before)

    def do_violation(self) -> None:
        before = self.stepper.position
        self.stepper.to_the_violation()
        self.say_events(before, most=8)

    # ---- looking -----------------------------------------------------------------------------------------------------

    def say_events(self, before: int, most: int = 40) -> None:
        """What was done since a position, and the position now."""
        trace = self.stepper.trace
        rows = [(event, text) for event, text in trace.texts(full=True) if event.step > before]
        if len(rows) > most:
            self.say(f"  ... {len(rows) - most} more")
        for event, text in rows[-most:]:
            place = trace.source(event)
            at = f" ({place.full})" if place else ""
            self.say(f"{event.step:7d}  {trace.task(event.task)}: {text.strip()}{at}")
        self.say_position()

    def say_position(self) -> None:
        stepper = self.stepper
        if stepper.kind:
            self.say(f"after step {stepper.position}: {stepper.kind}. {stepper.trace.cause() or ''}".rstrip())
        elif stepper.over:
            self.say(f"after step {stepper.position}: the execution is over, and nothing was violated")
        else:
            hand = ", by hand" if stepper.by_hand else ""
            self.say(f"after step {stepper.position} of {stepper.length}{hand}")

    def do_where(self) -> None:
        stepper = self.stepper
        trace = stepper.trace
        locks = locks_of(trace.events, stepper.pending, stepper.position)
        for task, name in enumerate(stepper.tasks):
            pending = stepper.pending[task]
            if pending is None:
                does = "has ended"
            elif pending.op == "start":
                does = "has not begun"
            else:
                what = ABOUT_TO.get(pending.op, f"{pending.op} {{}}").format(trace.object(pending.object))
                does = f"is about to {what}" + ("" if pending.enabled else ", and has to wait")
            held = ", ".join(trace.lock(hold.lock) for hold in locks.held(task, stepper.position))
            self.say(f"  {task} {name} {does}{f'; holds {held}' if held else ''}")

    def do_print(self, *words: str) -> None:
        stepper = self.stepper
        if not words:
            self.say(f"print {stepper.program.things}")
        elif words == ("world",):
            self.say(stepper.program.state(stepper.explorer, stepper.trace).strip("\n"))
        else:
            for line in stepper.program.look(stepper.explorer, stepper.trace, list(words)):
                self.say(line)

    def do_help(self) -> None:
        for name, about in COMMANDS.items():
            self.say(f"  {name} {about}")

    # ---- by hand -----------------------------------------------------------------------------------------------------

    def do_task(self, task: str, steps: str = "1") -> None:
        before = self.stepper.position
        wanted = _count(steps)
        made = self.stepper.choose(find_task(self.stepper.tasks, task), wanted)
        if made < wanted:
            self.say(f"only {made} of {wanted} steps: {self.stepper.why_not(find_task(self.stepper.tasks, task))}")
        self.say_events(before)

    def do_finish(self) -> None:
        before = self.stepper.position
        self.stepper.finish()
        self.say_events(before, most=8)

    def do_save(self, path: str) -> None:
        if not self.stepper.over:
            self.do_finish()
        try:
            self.stepper.result().save(Path(path))
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {reason(error)}") from None
        self.saved = path
        self.say(f"saved: anonvma-rt replay {path}")

    def do_debugger(self) -> None:
        def wait(names: list[str]) -> None:
            if not names:
                self.say("no task has begun yet, so there is no thread to look at")
                return
            self.say(f"process {os.getpid()} is paused after step {self.stepper.position}; threads: {', '.join(names)}")
            self.say(f"in another terminal: gdb -p {os.getpid()} -ex 'info threads' -ex 'thread apply all bt'")
            self.say("Enter goes on")
            with contextlib.suppress(EOFError, KeyboardInterrupt):
                input()

        self.stepper.pause(wait)
        self.say_position()


def _count(word: str, least: int = 1) -> int:
    try:
        count = int(word)
    except ValueError:
        count = least - 1
    if count < least:
        raise UserError(f"a whole number from {least} on is wanted, not {quote(word)}")
    return count


VERBS = {"step": opt.Verb(opt.FILE, run)}
