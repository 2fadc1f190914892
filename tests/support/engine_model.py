"""A second opinion on what a Program may do: a plain interpreter of the same steps, without threads.

It knows which tasks are enabled in a state and what a step changes, so it can list all outcomes of a program, say how
likely the uniform walk makes each, and follow a schedule that the engine reports. And random programs to compare.
"""

from collections import Counter

from hypothesis import strategies as st

START = -1
LOCK_VERBS = ("lock", "unlock", "trylock", "read_lock", "read_unlock", "write_lock", "write_unlock", "wait")


class Model:
    """One state of a program: `pc` of each thread (START before its first step) and all that a step can change."""

    def __init__(self, threads):
        self.threads = threads
        self.pc = [START] * len(threads)
        self.memory = dict.fromkeys(sorted(shared(threads, "load", "store", "add", "cas", "await")), 0)
        self.owner = dict.fromkeys(sorted(shared(threads, *LOCK_VERBS)), None)
        self.readers = dict.fromkeys(self.owner, 0)
        for task, thread in enumerate(threads):
            for verb, *operands in thread:
                if verb in ("load", "cas", "trylock"):
                    self.memory[f"{task}:{operands[-1]}"] = 0

    def key(self):
        return tuple(self.pc), tuple(self.memory.values()), tuple(self.owner.values()), tuple(self.readers.values())

    def copy(self):
        other = object.__new__(Model)
        other.threads, other.pc = self.threads, list(self.pc)
        other.memory, other.owner, other.readers = dict(self.memory), dict(self.owner), dict(self.readers)
        return other

    def ended(self, task):
        return self.pc[task] == len(self.threads[task])

    def operand(self, task, word):
        return self.memory[f"{task}:{word}"] if isinstance(word, str) else word

    def is_enabled(self, task):
        if self.ended(task) or self.pc[task] == START:
            return not self.ended(task)
        verb, name, *rest = self.threads[task][self.pc[task]]
        if verb in ("lock", "write_lock", "wait"):
            return self.owner[name] is None and not self.readers[name]
        if verb == "read_lock":
            return self.owner[name] is None
        return verb != "await" or self.memory[name] == self.operand(task, rest[0])

    def enabled(self):
        return [task for task in range(len(self.threads)) if self.is_enabled(task)]

    def step(self, task):
        """Makes one step of `task`; the verdict where this ends the execution, else None."""
        if self.pc[task] == START:
            self.pc[task] = 0
        else:
            verb, name, *rest = self.threads[task][self.pc[task]]
            if self.perform(task, verb, name, rest):
                return "bad-unlock"
            self.pc[task] += 1
        if self.enabled():
            return None
        return "ok" if all(map(self.ended, range(len(self.threads)))) else "deadlock"

    def perform(self, task, verb, name, rest):
        """The operation alone; whether it was an unlock that it must not be."""
        memory = self.memory
        if verb in ("lock", "write_lock"):
            self.owner[name] = task
        elif verb == "read_lock":
            self.readers[name] += 1
        elif verb == "trylock":
            free = self.owner[name] is None and not self.readers[name]
            memory[f"{task}:{rest[0]}"] = int(free)
            if free:
                self.owner[name] = task
        elif verb in ("unlock", "write_unlock"):
            if self.owner[name] != task:
                return True
            self.owner[name] = None
        elif verb == "read_unlock":
            if not self.readers[name]:
                return True
            self.readers[name] -= 1
        elif verb == "load":
            memory[f"{task}:{rest[0]}"] = memory[name]
        elif verb == "store":
            memory[name] = self.operand(task, rest[0])
        elif verb == "add":
            memory[name] += self.operand(task, rest[0])
        elif verb == "cas":
            old, new, result = rest
            same = memory[name] == self.operand(task, old)
            if same:
                memory[name] = self.operand(task, new)
            memory[f"{task}:{result}"] = int(same)
        return False

    def outcome(self, verdict):
        return verdict, tuple(sorted(self.memory.items()))


def shared(threads, *verbs):
    return {step[1] for thread in threads for step in thread if step[0] in verbs}


def enumerate_outcomes(threads):
    """{(verdict, values): probability under the uniform walk}: all interleavings, states met twice counted once.

    Every step moves some pc forward, so the states at one depth have no way back and are summed up level by level.
    """
    first = Model(threads)
    level = {first.key(): (first, 1.0)}
    outcomes = Counter()
    while level:
        below = {}
        for model, weight in level.values():
            enabled = model.enabled()
            for task in enabled:
                after = model.copy()
                verdict = after.step(task)
                share = weight / len(enabled)
                if verdict:
                    outcomes[after.outcome(verdict)] += share
                else:
                    key = after.key()
                    below[key] = (after, below[key][1] + share if key in below else share)
        level = below
    return outcomes


def follow(threads, segments):
    """The outcome of a schedule as the model has it. AssertionError where it runs a task that is not enabled."""
    model = Model(threads)
    for task, steps in segments:
        for _ in range(steps):
            assert model.is_enabled(task), f"task {task} ran at {model.key()}"
            verdict = model.step(task)
            if verdict:
                return model.outcome(verdict)
    raise AssertionError("the schedule ended before the program")


# ---- random programs -------------------------------------------------------------------------------------------------

values = st.sampled_from([0, 1, 2])
words = st.sampled_from(["x", "y"])
locks = st.sampled_from(["a", "b"])
accesses = st.one_of(
    st.tuples(st.just("load"), words, st.sampled_from(["r", "q"])),
    st.tuples(st.just("store"), words, values),
    st.tuples(st.just("add"), words, values),
    st.tuples(st.just("cas"), words, values, values, st.just("c")),
    st.tuples(st.just("await"), words, values),
)
locking = st.one_of(
    st.tuples(st.sampled_from(["lock", "unlock", "read_lock", "read_unlock", "wait"]), locks),
    st.tuples(st.just("trylock"), locks, st.just("t")),
)


@st.composite
def critical_section(draw):
    name = draw(locks)
    kind = draw(st.sampled_from(["", "read_", "write_"]))
    return [(f"{kind}lock", name), *draw(st.lists(accesses, max_size=2)), (f"{kind}unlock", name)]


@st.composite
def random_threads(draw, tasks=3, steps=4):
    """Threads that mostly lock in pairs, and sometimes in ways that deadlock or unlock what they do not hold."""
    threads = []
    for _ in range(draw(st.integers(2, tasks))):
        parts = draw(
            st.lists(st.one_of(accesses.map(lambda s: [s]), locking.map(lambda s: [s]), critical_section()), max_size=3)
        )
        threads.append([step for part in parts for step in part][:steps])
    return threads


def chi_square(observed, expected):
    """Whether counts agree with expected ones: False in one of a million honest samples. Rare cells are one."""
    assert not set(observed) - set(expected), "something was seen that cannot be"
    total = sum(observed.values())
    cells, rare = [], [0, 0.0]
    for cell, weight in expected.items():
        if weight * total >= 8:
            cells.append((observed.get(cell, 0), weight * total))
        else:
            rare = [rare[0] + observed.get(cell, 0), rare[1] + weight * total]
    if rare[1] >= 8:
        cells.append(tuple(rare))
    statistic = sum((seen - mean) ** 2 / mean for seen, mean in cells)
    freedom = len(cells) - 1
    # Wilson and Hilferty's approximation of the quantile at 4.75 standard deviations.
    limit = freedom * (1 - 2 / (9 * freedom) + 4.75 * (2 / (9 * freedom)) ** 0.5) ** 3 if freedom else 1e-6
    return statistic <= limit
