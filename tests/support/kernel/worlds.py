"""Small random worlds: a scenario of two or three threads with a few calls each, out of all that a scenario can say,
and an algorithm or a mutant of one. A world is a pure function of its seed, and its text a file for the command line.
"""

import random
from dataclasses import dataclass

from anonvma_rt.errors import AlgorithmError
from anonvma_rt.kernel.algorithm import BEHAVIOUR, CHOICES, PRESETS, Algorithm
from anonvma_rt.kernel.failing import ALLOCATIONS
from anonvma_rt.kernel.scenario import BoundScenario, Scenario
from anonvma_rt.kernel.scenario_file import VERBS
from anonvma_rt.text.toml import as_toml

__all__ = ["World", "algorithm_of", "draw_world"]

PAGE = 4096
GIB = 1 << 30
TABLE = 512
# Where things are: at the beginning and at the end of a page table, in another one, and where a huge page fits.
SPOTS = (0, 1, 2, TABLE - 2, TABLE - 1, 4 * TABLE, 4 * TABLE + 1, 8 * TABLE - 1)
HUGE = 12 * TABLE
STACK = 16 * TABLE + 8
# A step may return whatever it does: which it is depends on who came first.
ANY = ["", "EINVAL", "EFAULT", "ENOMEM", "EAGAIN", "EBUSY", "EEXIST", "ENOENT"]
PROCESSES = ("main", "child", "other")
# How often a thread makes a call: what takes many steps is rare, because few worlds with two of them can be searched.
OFTEN = {
    "mmap": 4, "munmap": 5, "mprotect": 5, "brk": 2, "touch": 9, "read": 5, "mremap": 6, "fork": 3, "exit": 1,
    "exec": 1, "migrate": 7, "move_pages": 2, "referenced": 4, "split": 1, "uffd_move": 2, "compare": 1, "vmas": 1,
    "dontneed": 3, "collapse": 1, "free": 1, "reclaim": 3, "pin": 0.3, "get": 0.3, "unpin": 0.2, "dma": 0.2,
    "mmap_file": 1,
    "deferred_split": 1,
}  # fmt: skip
assert OFTEN.keys() == VERBS.keys(), "every verb that there is"

Step = dict[str, object]


@dataclass(frozen=True)
class World:
    """failures: allocations of the threads that fail, as (task, n); None for what the steps say themselves."""

    seed: int
    text: str
    algorithm: str
    failures: tuple[tuple[int, int], ...] | None

    def program(self) -> BoundScenario:
        program = Scenario.from_text(self.text, f"world {self.seed}").bind({})
        return program if self.failures is None else program.fail(self.failures)


def draw_world(seed: int) -> World:
    """The world of a seed."""
    draw = random.Random(seed)
    places = _Places(draw)
    setup, threads = places.trip() if draw.random() < 0.15 else (places.setup(), places.threads())
    failures: tuple[tuple[int, int], ...] | None = None
    if draw.random() < 0.1:
        failures = tuple(
            sorted({(draw.randrange(len(threads)), draw.randint(1, 4)) for _ in range(draw.randint(1, 3))})
        )
    return World(seed, _text(seed, setup, threads), algorithm_of(draw), failures)


def algorithm_of(draw: random.Random) -> str:
    """A preset, or one with one or two fields changed."""
    while True:
        name = draw.choice(list(PRESETS))
        for field in draw.sample(BEHAVIOUR, draw.choice((0, 0, 1, 1, 1, 2))):
            value = draw.choice(CHOICES.get(field, ("false", "true")))
            name += f",{field}={value}"
        try:
            return Algorithm.parse(name).name
        except AlgorithmError:
            continue


class _Places:
    """Draws calls, most of which are about pages that are there."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.used: list[int] = []

    def setup(self) -> list[Step]:
        draw = self.draw
        steps: list[Step] = []
        for _ in range(draw.randint(1, 2)):
            at, pages = draw.choice(SPOTS), draw.randint(1, 3)
            steps.append(_step("mmap", at=at, pages=pages, writable=draw.random() < 0.9))
            touched = at + draw.randrange(pages)
            if draw.random() < 0.9:
                steps.append(_step("touch", at=touched, pages=1, tag=draw.randint(1, 5)))
            self.used += [touched, touched, at]
        if draw.random() < 0.06:
            steps.append(_step("mmap", at=HUGE, pages=TABLE, huge=True))
            steps.append(_step("touch", at=HUGE + draw.choice((0, 7)), pages=1, tag=6))
            self.used.append(HUGE)
        if draw.random() < 0.06:
            steps += [_step("mmap", at=STACK, pages=3, stack=True), _step("touch", at=STACK + 2, pages=1, tag=8)]
            self.used.append(STACK)
        for _ in range(draw.choice((0, 0, 1, 2))):
            steps.append(self.call(draw.choice(("mremap", "mremap", "mprotect", "touch", "migrate", "mmap", "read"))))
        if draw.random() < 0.4:
            steps.append(_step("fork", child="child"))
            if draw.random() < 0.5:
                steps.append(_step("touch", "child", at=draw.choice(self.used), pages=1, tag=7))
        return steps

    def threads(self) -> list[list[Step]]:
        draw = self.draw
        count = draw.choice((2, 2, 2, 3))
        threads: list[list[Step]] = []
        for _ in range(count):
            process = draw.choices(PROCESSES, (8, 2, 0.3))[0]
            calls = draw.choice((1, 1, 2) if count == 3 else (1, 1, 2, 2, 3))
            threads.append(
                [self.call(draw.choices(list(OFTEN), list(OFTEN.values()))[0], process) for _ in range(calls)]
            )
        return _without_exits(threads)

    def trip(self) -> tuple[list[Step], list[list[Step]]]:
        """A part of an area was moved away and comes home or goes elsewhere, while somebody migrates a page of it: what
        calls at random seldom are."""
        draw = self.draw
        at, pages = draw.choice((0, TABLE - 2, 4 * TABLE)), draw.randint(2, 3)
        first = draw.randrange(pages)
        length = draw.randint(1, pages - first)
        away = draw.choice((8 * TABLE - 1, 20 * TABLE, 1 + TABLE))
        setup = [
            _step("mmap", at=at, pages=pages),
            _step("touch", at=at, pages=pages, tag=3),
            _step("mremap", **{"from": at + first}, pages=length, to=away),
        ]
        if draw.random() < 0.3:
            setup.insert(draw.randint(1, 3), _step("fork", child="child"))
        self.used += [away, away, at + first, at]
        home = _step("mremap", **{"from": away}, pages=length, to=draw.choice((at + first, at + first, at + first, at)))
        if draw.random() < 0.2:
            home |= {"fail": draw.choice(ALLOCATIONS), "fail_after": draw.choice((0, 1))}
        visit = _step("migrate", draw.choice(("main", "main", "child")), at=away, fail_copy=draw.random() < 0.2)
        threads = [[home], [visit]]
        if draw.random() < 0.3:
            threads[draw.randrange(2)].append(self.call(draw.choice(("touch", "read", "munmap", "mprotect", "mremap"))))
        return setup, threads

    def rights(self, often: float) -> Step:
        if self.draw.random() < 0.15:
            return {"prot": self.draw.choice(("none", "none", "read", "write"))}
        return {"writable": self.draw.random() < often}

    def call(self, verb: str, process: str = "main") -> Step:
        draw = self.draw
        at = draw.choice(self.used) if draw.random() < 0.85 else draw.choice(SPOTS)
        to = draw.choice((*SPOTS, *self.used))
        pages = draw.choice((1, 1, 2, 3))
        if verb == "mmap":
            step = _step(verb, process, at=at if draw.random() < 0.3 else to, pages=pages, **self.rights(0.7))
            if draw.random() < 0.05:
                step["noreserve"] = True
        elif verb in ("mprotect", "mmap_file"):
            step = _step(verb, process, at=at, pages=pages, **self.rights(0.5))
        elif verb == "touch":
            step = _step(verb, process, at=at, pages=draw.choice((1, 1, 1, 2)), tag=draw.randint(1, 5))
        elif verb in ("munmap", "brk", "read", "move_pages", "dontneed", "free"):
            step = _step(verb, process, at=at, pages=pages)
        elif verb == "mremap":
            new = draw.choice((pages, pages, pages, pages + 1, 1))
            step = _step(verb, process, **{"from": at}, pages=pages, new_pages=new)
            if draw.random() < 0.85:
                step["to"] = GIB + to * PAGE
                self.used.append(to)
            if draw.random() < 0.1:
                step["dontunmap"] = True
        elif verb == "fork":
            step = _step(verb, process, child=draw.choice([one for one in PROCESSES if one != process]))
        elif verb in ("exit", "deferred_split"):
            step = _step(verb, process)
        elif verb == "exec":
            step = _step(verb, process, at=STACK, shift=draw.choice((1, 2, 4)))
        elif verb == "migrate":
            step = _step(verb, process, at=at, fail_copy=draw.random() < 0.15)
        elif verb in ("pin", "get"):
            step = _step(verb, process, at=at, writable=draw.random() < 0.5, fast=draw.random() < 0.3)
        elif verb in ("reclaim", "unpin"):
            step = _step(verb, process, at=at)
        elif verb == "dma":
            step = _step(verb, process, at=at, tag=draw.randint(1, 5))
        elif verb in ("referenced", "split", "collapse"):
            step = _step(verb, process, at=HUGE if HUGE in self.used and draw.random() < 0.5 else at)
        elif verb == "uffd_move":
            step = _step(verb, process, **{"from": at}, to=to, pages=draw.choice((1, 1, pages)))
        elif verb == "compare":
            step = _step(verb, process, a=at, b=to, pages=1)
        else:
            step = _step(verb, process, at=at, pages=pages, count=draw.randint(0, 2))
        if draw.random() < 0.1:
            step |= {"fail": draw.choice(ALLOCATIONS), "fail_after": draw.choice((0, 0, 1, 2))}
        return step


def _without_exits(threads: list[list[Step]]) -> list[list[Step]]:
    """An address space ends with its last thread: nobody else may be in it, and nothing comes after."""
    for thread in threads:
        process = thread[0]["process"]
        others = [step for other in threads if other is not thread for step in other]
        alone = all(step["process"] != process and step.get("child") != process for step in others)
        for at, step in enumerate(thread):
            if step["do"] == "exit" and not (alone and at == len(thread) - 1):
                thread[at] = _step("munmap", str(process), at=0, pages=2)
    return threads


PLACES = ("at", "from", "to", "a", "b")


def _step(verb: str, process: str = "main", **values: object) -> Step:
    """Places are pages from 1 GiB on."""
    placed = {key: GIB + value * PAGE if key in PLACES else value for key, value in values.items()}  # type: ignore
    return {"do": verb, "process": process, **placed, "errno": ANY}


def _text(seed: int, setup: list[Step], threads: list[list[Step]]) -> str:
    lines = [f"name = {as_toml(f'world-{seed}')}", 'about = "a small random world"']
    lines += [f"processes = {as_toml(PROCESSES)}", "setup = [", *(f"    {_table(step)}," for step in setup), "]"]
    for number, thread in enumerate(threads):
        lines += ["[[thread]]", f"name = {as_toml(f't{number}')}"]
        lines += ["steps = [", *(f"    {_table(step)}," for step in thread), "]"]
    return "\n".join(lines) + "\n"


def _table(step: Step) -> str:
    return "{ " + ", ".join(f"{key} = {as_toml(value)}" for key, value in step.items()) + " }"  # type: ignore
