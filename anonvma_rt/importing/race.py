"""Which steps of a log run alone first, and which race: the setup of a scenario, and its threads.

A log has one order, and says only in part what could have come in another one. So what a task does before there is a
second one is setup, and from then on every task is a thread. What a thread has no memory for yet (a child that is
forked in the race) runs in the thread of who makes it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from anonvma_rt.errors import UserError, nearest, quote
from anonvma_rt.importing.logged import ASSUMED, Log, Note, Step

__all__ = ["Race", "choose_race"]

MOST_THREADS = MOST_PROCESSES = 64
ACCESSES = ("touch", "read")


@dataclass
class Race:
    """threads: by name, in the order in which they begin."""

    setup: list[Step]
    threads: dict[str, list[Step]]
    notes: list[Note] = field(default_factory=list)

    def assume(self, reason: str) -> None:
        self.notes.append(Note(ASSUMED, 0, "", reason))


def choose_race(
    steps: Iterable[Step], log: Log, race_from: int | None, tasks: Iterable[str], threads: int | None, migrates: bool
) -> Race:
    """race_from: the line from which on tasks are threads. tasks: only these are, and what others do from then on is
    left out. threads: the last so many calls are a thread each. Without any of these the log decides.
    """
    steps = sorted(steps, key=lambda step: (step.order, step.line))
    busy = dict.fromkeys(step.task for step in steps if step.verb != "exit")
    if not busy:
        raise UserError("nothing of the log can be said, so there is no scenario")
    tasks = list(tasks)
    for task in tasks:
        if task not in busy:
            raise UserError(f"no call of task {quote(task)} can be said{nearest(task, busy)}")
    said_so = log.race if any(step.order >= log.race for step in steps) else 0
    alone = threads is None and race_from is None and not said_so and len(busy) == 1
    if alone or threads is not None:
        race = _last_calls(steps, threads or (1 if migrates else 2))
        if alone:
            race.assume(f"one task makes all calls: the last {len(race.threads)} race (--threads, or --race-from LINE)")
        _join_children(race)
        return race
    begin = race_from or said_so or _second_task(steps, log, list(busy))
    race = _by_task(steps, begin, tasks)
    if race_from is None and not said_so:
        race.assume(f"the race begins at line {begin}, where there is a second task (--race-from LINE)")
    _fork_first(race)
    _join_children(race)
    for task, birth in log.births.items():
        if birth.shares and birth.line >= begin and f"t{task}" in race.threads:
            race.assume(f"t{task} runs from the beginning of the race on; in the log it began at line {birth.line}")
    _drop_exits(race)
    _forget_the_dead(race)
    race.threads = {name: part for name, part in race.threads.items() if part}
    if not race.threads:
        raise UserError(f"no call from line {begin} on can be said, so nothing is left to race")
    if len(race.threads) > MOST_THREADS:
        raise UserError(f"{len(race.threads)} tasks race, at most {MOST_THREADS} can: choose some with --tasks")
    return race


def _last_calls(steps: list[Step], count: int) -> Race:
    """A thread for each of the last calls."""
    lines = list(dict.fromkeys(step.line for step in steps if step.line and step.verb not in (*ACCESSES, "exit")))[
        -count:
    ]
    race = Race([], {})
    last = [step for step in steps if step.line in lines]
    names: dict[int, str] = {}
    for step in last:
        if step.verb not in (*ACCESSES, "exit") or step.line not in names:
            names[step.line] = f"{step.verb}-{step.line}"
    for step in steps:
        if step.verb == "exit" and (step.line in lines or step.order >= last[0].order):
            continue
        if step.line in lines:
            race.threads.setdefault(names[step.line], []).append(step)
        else:
            race.setup.append(step)
    return race


def _second_task(steps: list[Step], log: Log, busy: list[str]) -> int:
    """The line behind which there is more than one task that does something."""
    return min(
        log.births[task].line + 1
        if task in log.births
        else next(step.line for step in steps if step.task == task and step.verb != "exit")
        for task in busy[1:]
    )


def _by_task(steps: list[Step], begin: int, tasks: list[str]) -> Race:
    race = Race([], {})
    first = steps[0].task
    left_out: dict[str, int] = {}
    for step in steps:
        if step.order < begin:
            race.setup.append(step)
        elif tasks and step.task not in tasks:
            left_out[step.task] = left_out.get(step.task, 0) + 1
        else:
            name = step.task if not step.task.isdigit() else "main" if step.task == first else f"t{step.task}"
            race.threads.setdefault(name, []).append(step)
    for task, count in left_out.items():
        race.assume(f"task {task} is left out of the race, with {count} steps")
    return race


def _users(race: Race) -> dict[str, list[str]]:
    """The threads that do something in each process, but for ending it."""
    users: dict[str, list[str]] = {}
    for name, part in race.threads.items():
        for process in dict.fromkeys(step.process for step in part if step.verb != "exit"):
            users.setdefault(process, []).append(name)
    return users


def _fork_first(race: Race) -> None:
    """A fork with which a thread begins is setup, if another thread is the child and nobody has changed what it copies:
    so both are there from the start."""
    users = _users(race)
    forked = {str(step.values["child"]) for part in race.threads.values() for step in _forks(part)}
    moved = True
    while moved:
        moved = False
        for name, part in race.threads.items():
            fork = part[0] if part and part[0].verb == "fork" else None
            if fork is None or not set(users.get(str(fork.values["child"]), ())) - {name} or fork.process in forked:
                continue
            others = (step for other in race.threads.values() for step in other if step.process == fork.process)
            if all(step.order >= fork.order for step in others):
                race.setup.append(part.pop(0))
                forked.remove(str(fork.values["child"]))
                moved = True


def _forks(part: list[Step]) -> list[Step]:
    return [step for step in part if step.verb == "fork"]


def _join_children(race: Race) -> None:
    """What a child does that is forked in the race goes to the thread of the fork, in the order of the log."""
    users = _users(race)
    host: dict[str, str] = {}
    for name, part in race.threads.items():
        for step in _forks(part):
            for user in users.get(str(step.values["child"]), ()):
                if user != name:
                    host.setdefault(user, name)
    for name in list(host):
        at, seen = name, {name}
        while at in host and host[at] not in seen:
            at = host[at]
            seen.add(at)
        if at != name:
            race.threads[at] = sorted(
                race.threads[at] + race.threads.pop(name), key=lambda step: (step.order, step.line)
            )
            race.assume(f"{name} is forked in the race, so thread {at} does what it does (--race-from a later line)")


def _drop_exits(race: Race) -> None:
    """A process ends in the race only where one thread alone does something in it."""
    users = _users(race)
    for name, part in race.threads.items():
        for step in [step for step in part if step.verb == "exit"]:
            others = [user for user in users.get(step.process, ()) if user != name]
            if others:
                part.remove(step)
                race.assume(f"the end of process {step.process} is left out: {len(others) + 1} threads race in it")
    race.setup = [step for step in race.setup if step.verb != "exit" or users]


def _processes(steps: Iterable[Step]) -> set[str]:
    return {step.process for step in steps} | {str(step.values["child"]) for step in steps if step.verb == "fork"}


def _forget_the_dead(race: Race) -> None:
    """Where there are more processes than a scenario may have: those that begin and end before the race are left out,
    unless they made one that stays."""
    racing = [step for part in race.threads.values() for step in part]
    if len(_processes([*race.setup, *racing])) <= MOST_PROCESSES:
        return
    alive = _processes(racing) | ({step.process for step in race.setup} - _ended(race.setup))
    size = -1
    while size != len(alive):
        size = len(alive)
        alive |= {step.process for step in race.setup if step.verb == "fork" and step.values["child"] in alive}
    dead = _processes(race.setup) - alive
    race.setup = [
        step
        for step in race.setup
        if step.process not in dead and (step.verb != "fork" or step.values["child"] not in dead)
    ]
    race.assume(f"{len(dead)} processes that ended before the race are left out")
    left = len(_processes([*race.setup, *racing]))
    if left > MOST_PROCESSES:
        more = "a later --race-from leaves out those that end before"
        raise UserError(f"there are {left} processes, at most {MOST_PROCESSES} are right ({more})")


def _ended(steps: list[Step]) -> set[str]:
    return {step.process for step in steps if step.verb == "exit"}
