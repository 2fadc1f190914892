"""All interleavings of a few small threads, by brute force: what the exhaustive search is compared with.

A thread is a list of (verb, name, operand...) as engine.program.Program takes them: load, store, add on variables;
lock, unlock, trylock, read_lock, read_unlock, read_trylock, wait on locks. Two interleavings are of one class if they
order all dependent operations alike.
"""

from dataclasses import dataclass, field

from hypothesis import strategies as st

VARIABLES = ("load", "store", "add")
READERS = ("read_lock", "read_unlock", "read_trylock")


def dependent(one, other):
    """Whether the order of two operations (verb, name, whether a try failed) of different threads can matter."""
    (a, name, a_failed), (b, other_name, b_failed) = one, other
    if name != other_name:
        return False
    if a in VARIABLES:
        return not (a == b == "load")
    if (a_failed and b_failed) or (a == b == "wait"):
        return False
    return not (a in READERS and b in READERS and not a_failed and not b_failed)


@dataclass
class World:
    """One state on the way: who holds what, and all values."""

    at: tuple
    held: dict = field(default_factory=dict)
    readers: dict = field(default_factory=dict)
    values: dict = field(default_factory=dict)

    def copy(self):
        return World(self.at, dict(self.held), dict(self.readers), dict(self.values))

    def can_go(self, verb, name):
        if verb in ("lock", "wait"):
            return not self.held.get(name) and not self.readers.get(name)
        return not (verb == "read_lock" and self.held.get(name))

    def step(self, i, verb, name, *operands):
        """Makes the step of thread i; whether it was a try that failed."""
        failed = False
        if verb == "load":
            self.values[f"{i}:{operands[0]}"] = self.values.get(name, 0)
        elif verb == "store":
            self.values[name] = operands[0]
        elif verb == "add":
            self.values[name] = self.values.get(name, 0) + operands[0]
        elif verb in ("lock", "unlock"):
            self.held[name] = verb == "lock"
        elif verb in ("read_lock", "read_unlock"):
            self.readers[name] = self.readers.get(name, 0) + (1 if verb == "read_lock" else -1)
        elif verb in ("trylock", "read_trylock"):
            failed = bool(self.held.get(name)) or (verb == "trylock" and bool(self.readers.get(name)))
            self.values[f"{i}:{operands[0]}"] = int(not failed)
            if not failed and verb == "trylock":
                self.held[name] = True
            elif not failed:
                self.readers[name] = self.readers.get(name, 0) + 1
        self.at = (*self.at[:i], self.at[i] + 1, *self.at[i + 1 :])
        return failed


def enumerate_all(threads, preemptions=None):
    """Every interleaving, or those with at most so many preemptions: (its class, its final values without zeros)."""
    for done, values in interleavings(threads, preemptions):
        yield canonical(done), values


def interleavings(threads, preemptions=None, order=None):
    """The same as (what was done, its final values): steps are (thread, number, (verb, name, whether a try failed)).

    order: only that in which the threads make their steps in that order."""

    def go_on(world, done, left):
        able = [
            i
            for i, thread in enumerate(threads)
            if world.at[i] < len(thread) and world.can_go(*thread[world.at[i]][:2])
        ]
        if order is not None:
            able = [i for i in order[len(done) : len(done) + 1] if i in able]
        running = done[-1][0] if done else None
        for i in able:
            cost = running in able and i != running
            if left is not None and cost > left:
                continue
            after = world.copy()
            verb, name, *operands = threads[i][world.at[i]]
            failed = after.step(i, verb, name, *operands)
            event = (i, world.at[i], (verb, name, failed))
            yield from go_on(after, [*done, event], None if left is None else left - cost)
        if not able:
            yield done, frozenset((name, value) for name, value in world.values.items() if value)

    yield from go_on(World((0,) * len(threads)), [], preemptions)


def classes(threads):
    return {one for one, _ in enumerate_all(threads)}


def canonical(done):
    """What was done, and which dependent pairs came in which order."""
    pairs = {
        (a[:2], b[:2]) for n, a in enumerate(done) for b in done[n + 1 :] if a[0] != b[0] and dependent(a[2], b[2])
    }
    return frozenset((i, k, failed) for i, k, (_, _, failed) in done), frozenset(pairs)


def steps(thread):
    """The same thread for engine.program.Program, where a lock that has readers is locked by write_lock."""
    verbs = {"lock": "write_lock", "unlock": "write_unlock"}
    return [(verbs.get(verb, verb), *rest) for verb, *rest in thread]


LOCKS = st.sampled_from("AB")
NAMES = st.sampled_from("xy")


@st.composite
def pieces(draw):
    """A few steps that belong together."""
    lock, name, register = draw(LOCKS), draw(NAMES), draw(st.sampled_from(("r", "s")))
    inside = draw(st.sampled_from(([], [("load", name, register)], [("store", name, draw(st.integers(1, 3)))])))
    kind = draw(st.integers(0, 7))
    if kind == 0:
        return [("load", name, register)]
    if kind == 1:
        return [("store", name, draw(st.integers(1, 3)))]
    if kind == 2:
        return [("add", name, 1)]
    if kind == 3:
        return [("wait", lock)]
    if kind == 4:
        return [(draw(st.sampled_from(("trylock", "read_trylock"))), lock, register)]
    if kind == 5:
        return [("read_lock", lock), *inside, ("read_unlock", lock)]
    if kind == 6:
        other = "B" if lock == "A" else "A"
        return [("lock", lock), ("lock", other), ("unlock", other), ("unlock", lock)]
    return [("lock", lock), *inside, ("unlock", lock)]


@st.composite
def small_programs(draw, most=9):
    """Two to four threads with few enough steps to enumerate all interleavings."""
    threads = []
    for _ in range(draw(st.integers(2, 4))):
        thread = [step for piece in draw(st.lists(pieces(), min_size=1, max_size=3)) for step in piece]
        left = most - sum(map(len, threads))
        if threads and len(thread) > left:
            break
        threads.append(thread[:most])
    return threads
