"""All interleavings of a few small threads, by brute force: what the exhaustive search is compared with.

A thread is a list of (verb, name): load, store, add on variables; lock, unlock, trylock, read_lock, read_unlock, wait
on locks. Two interleavings are of one class if they order all dependent pairs of operations alike.
"""

import random

VARIABLES = ("load", "store", "add")


def dependent(one, other):
    """Whether the order of two operations (verb, name, whether a trylock failed) of different threads can matter."""
    (a, name, a_failed), (b, other_name, b_failed) = one, other
    if name != other_name:
        return False
    if a in VARIABLES:
        return not (a == b == "load")
    if a_failed and b_failed:
        return False
    if "trylock" in (a, b) or {"lock", "unlock"} & {a, b}:
        return True
    return (a == "wait") != (b == "wait")


def can_go(verb, held, readers):
    if verb in ("lock", "wait"):
        return not held and not readers
    return not (verb == "read_lock" and held)


def classes(threads):
    """The set of classes, each as (what was done, which dependent pairs came in which order)."""
    found = set()

    def go_on(at, locks, done):
        moved = False
        for i, thread in enumerate(threads):
            if at[i] == len(thread):
                continue
            verb, name = thread[at[i]]
            held, readers = locks.get(name, (False, 0))
            if not can_go(verb, held, readers):
                continue
            moved = True
            failed = verb == "trylock" and (held or readers > 0)
            if verb == "lock" or (verb == "trylock" and not failed):
                held = True
            elif verb == "unlock":
                held = False
            elif verb in ("read_lock", "read_unlock"):
                readers += 1 if verb == "read_lock" else -1
            after = (*at[:i], at[i] + 1, *at[i + 1 :])
            go_on(after, {**locks, name: (held, readers)}, [*done, (i, at[i], (verb, name, failed))])
        if not moved:
            found.add(canonical(done))

    go_on((0,) * len(threads), {}, [])
    return found


def canonical(done):
    pairs = {
        (a[:2], b[:2]) for n, a in enumerate(done) for b in done[n + 1 :] if a[0] != b[0] and dependent(a[2], b[2])
    }
    return frozenset((i, k, failed) for i, k, (_, _, failed) in done), frozenset(pairs)


def steps(thread):
    """The same thread for engine.program.Program."""
    verbs = {"lock": "write_lock", "unlock": "write_unlock"}
    made = []
    for n, (verb, name) in enumerate(thread):
        operands = [f"r{n}"] if verb in ("load", "trylock") else [1] if verb in ("store", "add") else []
        made.append((verbs.get(verb, verb), name, *operands))
    return made


def random_threads(seed, tries):
    """Two to four threads. tries: with trylocks instead of readers: the search refuses to judge both on one lock."""
    draw = random.Random(seed)
    threads = []
    for _ in range(draw.choice((2, 2, 3, 3, 4))):
        thread = []
        for _ in range(draw.randint(1, 3)):
            kind, lock, variable = draw.random(), draw.choice("AB"), draw.choice("xy")
            access = [(draw.choice(("load", "store")), variable)] if draw.random() < 0.4 else []
            if kind < 0.35:
                thread.append((draw.choice(VARIABLES), variable))
            elif kind < 0.65:
                thread += [("lock", lock), *access, ("unlock", lock)]
            elif kind < 0.75:
                thread += [("lock", "A"), ("lock", "B"), ("unlock", "B"), ("unlock", "A")]
            elif kind < 0.85:
                thread.append(("wait", lock))
            elif tries:
                thread.append(("trylock", lock))
            else:
                thread += [("read_lock", lock), *access, ("read_unlock", lock)]
        if draw.random() < 0.3:
            thread += [("lock", "B"), ("lock", "A"), ("unlock", "A"), ("unlock", "B")]
        threads.append(thread)
    return threads
