"""Random programs of a few threads: some that may deadlock or unlock what they do not hold, and some small enough to
list all their interleavings."""

from hypothesis import strategies as st

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
    st.tuples(st.sampled_from(["lock", "unlock", "read_lock", "read_unlock", "wait", "downgrade"]), locks),
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


@st.composite
def pieces(draw):
    """A few steps that belong together."""
    lock, name, register = draw(st.sampled_from("AB")), draw(words), draw(st.sampled_from(("r", "s")))
    inside = draw(st.sampled_from(([], [("load", name, register)], [("store", name, draw(st.integers(1, 3)))])))
    kind = draw(st.integers(0, 8))
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
    if kind == 8:
        return [("lock", lock), *inside, ("downgrade", lock), *inside, ("read_unlock", lock)]
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


def steps(thread):
    """The same thread for litmus.program.Program, where a lock that has readers is locked by write_lock."""
    verbs = {"lock": "write_lock", "unlock": "write_unlock"}
    return [(verbs.get(verb, verb), *rest) for verb, *rest in thread]
