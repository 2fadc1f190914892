"""A second opinion on what small programs may do: a plain interpreter of their steps, without the engine.

It takes the steps of engine programs and of litmus tests. It lists all outcomes and how likely the uniform walk makes
each, all interleavings and the classes of those that order dependent operations alike, and follows a given schedule.
"""

from collections import Counter
from functools import cache
from typing import NamedTuple

from anonvma_rt.litmus.assemble import unprotected

START = -1
SILENT = ("get", "set")  # no point goes before them where a lock keeps others away: made together with the step before
LOCKS = ("lock", "unlock", "trylock", "read_lock", "read_unlock", "read_trylock", "write_lock", "write_unlock", "wait",
         "downgrade")  # fmt: skip
RESULTS = ("load", "get", "cas", "trylock", "read_trylock")  # the last operand is a register
READERS = ("read_lock", "read_unlock", "read_trylock")


class State(NamedTuple):
    """pcs: START before the first step of a thread. readers: of each lock, the threads that share it, once for each
    time; owners: -1 for none."""

    pcs: tuple
    memory: tuple
    owners: tuple
    readers: tuple


def replaced(items, at, item):
    return (*items[:at], item, *items[at + 1 :])


class Model:
    """threads: lists of (verb, name, operands...). starts: a thread's first step only starts it, as in the engine.
    shared: registers have no thread of their own, as in a litmus test."""

    def __init__(self, threads, setup=(), starts=True, shared=False):
        self.threads = [[tuple(step) for step in thread] for thread in threads]
        self.loud = unprotected(self.threads)
        self.shared = shared
        memory, locks = {}, set()
        for task, thread in enumerate([*self.threads, setup]):
            for verb, name, *rest in thread:
                if verb in LOCKS:
                    locks.add(name)
                else:
                    memory[name] = 0
                if verb in RESULTS:
                    memory[self.register(task, rest[-1])] = 0
        for verb, name, value in setup:
            memory[name] = value + (memory[name] if verb == "add" else 0)
        self.places = {name: i for i, name in enumerate(memory)}
        self.locks = {name: i for i, name in enumerate(locks)}
        nobody = (-1,) * len(locks), ((),) * len(locks)
        self.first = State((START,) * len(threads), tuple(memory.values()), *nobody)
        if not starts:
            for task in range(len(threads)):
                self.first = self.step(self.first, task)[0]

    def register(self, task, name):
        return name if self.shared else f"{task}:{name}"

    def value(self, memory, task, operand):
        return memory[self.places[self.register(task, operand)]] if isinstance(operand, str) else operand

    def next(self, state, task):
        """The next step of a thread; () where it has ended."""
        thread, pc = self.threads[task], state.pcs[task]
        return ("start", task) if pc == START else thread[pc] if pc < len(thread) else ()

    def is_enabled(self, state, task):
        step = self.next(state, task)
        if not step:
            return False
        verb, name, *rest = step
        if verb in ("lock", "write_lock", "wait"):
            return state.owners[self.locks[name]] < 0 and not state.readers[self.locks[name]]
        if verb == "read_lock":
            return state.owners[self.locks[name]] < 0
        return verb != "await" or state.memory[self.places[name]] == self.value(state.memory, task, rest[0])

    def enabled(self, state):
        return [task for task in range(len(self.threads)) if self.is_enabled(state, task)]

    def step(self, state, task):
        """(the state after a step and the silent ones behind it, the verdict if that ends all, whether a try failed)"""
        failed = None
        while True:
            if state.pcs[task] != START:
                state, failed = self.perform(state, task, *self.next(state, task))
                if failed == "bad-unlock":
                    return state, failed, False
            state = state._replace(pcs=replaced(state.pcs, task, state.pcs[task] + 1))
            coming = self.next(state, task)
            if not coming or coming[0] not in SILENT or coming[1] in self.loud:
                break
        if self.enabled(state):
            return state, None, bool(failed)
        ended = not any(self.next(state, other) for other in range(len(self.threads)))
        return state, "ok" if ended else "deadlock", bool(failed)

    def perform(self, state, task, verb, name, *rest):
        """The operation alone: the state after it, and whether it was a try that failed or "bad-unlock"."""
        memory = list(state.memory)
        if verb in LOCKS:
            at = self.locks[name]
            owner, readers = state.owners[at], state.readers[at]
            failed = "trylock" in verb and (owner >= 0 or (verb == "trylock" and readers != ()))
            if "trylock" in verb:
                memory[self.places[self.register(task, rest[0])]] = int(not failed)
            if verb in ("lock", "write_lock", "trylock") and not failed:
                owner = task
            elif verb in ("read_lock", "read_trylock") and not failed:
                readers = tuple(sorted((*readers, task)))
            elif verb in ("unlock", "write_unlock"):
                if owner != task:
                    return state, "bad-unlock"
                owner = -1
            elif verb == "downgrade":
                if owner != task:
                    return state, "bad-unlock"
                owner, readers = -1, (task,)
            elif verb == "read_unlock":
                if task not in readers:
                    return state, "bad-unlock"
                readers = replaced(readers, readers.index(task), None)
                readers = tuple(one for one in readers if one is not None)
            owners = replaced(state.owners, at, owner)
            return State(state.pcs, tuple(memory), owners, replaced(state.readers, at, readers)), failed
        at = self.places[name]
        if verb in ("load", "get"):
            memory[self.places[self.register(task, rest[0])]] = memory[at]
        elif verb in ("store", "set"):
            memory[at] = self.value(memory, task, rest[0])
        elif verb == "add":
            memory[at] += self.value(memory, task, rest[0])
        elif verb == "cas":
            same = memory[at] == self.value(memory, task, rest[0])
            if same:
                memory[at] = self.value(memory, task, rest[1])
            memory[self.places[self.register(task, rest[2])]] = int(same)
        return state._replace(memory=tuple(memory)), False

    def values(self, state):
        return tuple(sorted(zip(self.places, state.memory, strict=True)))

    # ---- everything that there is ------------------------------------------------------------------------------------

    def outcomes(self):
        """{(verdict, values): probability under the uniform walk}.

        Every step moves some pc forward, so the states at one depth have no way back and are summed up level by level.
        """
        level, found = Counter({self.first: 1.0}), Counter()
        while level:
            below = Counter()
            for state, weight in level.items():
                enabled = self.enabled(state)
                for task in enabled:
                    after, verdict, _ = self.step(state, task)
                    if verdict:
                        found[verdict, self.values(after)] += weight / len(enabled)
                    else:
                        below[after] += weight / len(enabled)
            level = below
        return found

    def count(self, is_bad=lambda final: False):
        """(number of interleavings, how many end badly, {(verdict, values, None where it is not "ok")})."""
        outcomes = set()

        @cache
        def below(state):
            total = bad = 0
            for task in self.enabled(state):
                after, verdict, _ = self.step(state, task)
                if verdict is None:
                    more, worse = below(after)
                else:
                    final = self.values(after) if verdict == "ok" else None
                    outcomes.add((verdict, final))
                    more, worse = 1, int(final is None or is_bad(dict(final)))
                total, bad = total + more, bad + worse
            return total, bad

        return *below(self.first), outcomes

    def follow(self, segments):
        """The outcome of a schedule. AssertionError where it runs a task that is not enabled."""
        state = self.first
        for task, steps in segments:
            for _ in range(steps):
                assert self.is_enabled(state, task), f"task {task} ran at {state}"
                state, verdict, _ = self.step(state, task)
                if verdict:
                    return verdict, self.values(state)
        raise AssertionError("the schedule ended before the program")


def interleavings(threads, preemptions=None, starts=False, delays=None):
    """Every interleaving, or those with at most so many preemptions or delays, as (what was done, final values without
    zeros). A delay passes over an enabled thread whose turn it is; the turn is whose the last step was, else the next.

    What was done are events (thread, number, (verb, name, whether a try failed)).
    """
    model = Model(threads, starts=starts)

    def go_on(state, done, left):
        able = model.enabled(state)
        running = done[-1][0] if done else None
        for task in able:
            cost = running in able and task != running
            if delays is not None:
                cost = sorted(able, key=lambda one: (one < (running or 0), one)).index(task)
            if left is not None and cost > left:
                continue
            verb, name, *_ = model.next(state, task)
            after, _, failed = model.step(state, task)
            event = (task, state.pcs[task], (verb, name, failed))
            yield from go_on(after, [*done, event], None if left is None else left - cost)
        if not able:
            yield done, frozenset((name, value) for name, value in model.values(state) if value)

    yield from go_on(model.first, [], preemptions if delays is None else delays)


def dependent(one, other):
    """Whether the order of two operations (verb, name, whether a try failed) of different threads can matter."""
    (a, name, a_failed), (b, other_name, b_failed) = one, other
    if name != other_name:
        return False
    if a not in LOCKS:
        return not {a, b} <= {"load", "await"}
    if (a_failed and b_failed) or (a == b == "wait"):
        return False
    return not (a in READERS and b in READERS and not a_failed and not b_failed)


def class_of(done):
    """What was done, and which dependent pairs came in which order."""
    pairs = {
        (a[:2], b[:2]) for n, a in enumerate(done) for b in done[n + 1 :] if a[0] != b[0] and dependent(a[2], b[2])
    }
    return frozenset((i, k, failed) for i, k, (_, _, failed) in done), frozenset(pairs)
