"""What a search must find in a small program, by making every schedule; and random programs of chosen operations."""

from anonvma_rt.engine.base.bell import cores
from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.search.dpor import Dpor
from anonvma_rt.litmus.program import Program

EVERY_SCHEDULE = 1000  # preemptions: more than such a program has steps, so that nothing is left out
MOST_SCHEDULES = 30_000
CPU = cores(1)[0]

# What a random program is made of: verbs, and pieces of several steps.
KINDS = {
    "words": ["load", "store", "add", "cas"],
    "awaits": ["await", "store", "store", "load", "add", "await"],
    "predicates": [
        "await", "await_not", "await_less", "await_at_least", "await_bits", "await_no_bits", "store", "store", "add",
        "load",
    ],
    "takes": ["take", "take", "add", "store", "load", "await"],
    "locks": ["write", "write", "unlock", "write_lock", "store"],
    "tries": ["write", "trylock", "taken", "read_trylock", "wait"],
    "readers": ["read", "read", "await", "store", "write", "wait"],
    "downgrades": ["downgraded", "downgraded", "read", "write", "downgrade", "read_trylock", "trylock", "wait"],
    "waits": ["write", "read", "wait", "wait", "load"],
    "wild": ["write", "read", "read_unlock", "write_unlock", "read_lock", "write_lock", "trylock", "store"],
    "objects": ["use", "use", "free", "new", "unlink", "store", "write"],
    "freed locks": ["write", "read", "free_lock", "trylock", "read_trylock", "wait", "store"],
    "silent": ["write", "read", "get", "set", "store", "await"],
    "all": [
        "await", "await_less", "store", "load", "add", "cas", "write", "read", "trylock", "taken", "read_trylock",
        "wait", "read_unlock", "write_unlock", "read_lock", "write_lock", "use", "free", "new", "get", "set",
        "free_lock", "take", "downgraded",
    ],
}  # fmt: skip
INSIDE = ["load", "store", "await", "get", "set"]


def random_program(draw, kinds):
    """Two to four threads of at most eight steps together. draw: a random.Random."""
    tasks = draw.choice([2, 2, 3, 3, 4])
    left, threads = 8 if tasks < 4 else 7, []
    for _ in range(tasks):
        thread = [step for _ in range(draw.randint(1, 3)) for step in piece(draw, draw.choice(kinds))]
        threads.append(thread[: max(1, left)])
        left -= len(threads[-1])
        if left <= 0 and len(threads) > 1:
            break
    return threads


def piece(draw, kind):
    lock, word, register, item = draw.choice("ab"), draw.choice("xy"), draw.choice("rs"), draw.choice("op")
    if kind in ("write", "read"):
        inside = piece(draw, draw.choice(INSIDE)) if draw.random() < 0.5 else []
        return [(f"{kind}_lock", lock), *inside, (f"{kind}_unlock", lock)]
    if kind == "taken":
        return [("trylock", lock, register), ("write_unlock", lock)]
    if kind == "unlock":
        return [("write_unlock", lock)]
    if kind == "downgraded":
        inside = [piece(draw, draw.choice(INSIDE)) if draw.random() < 0.5 else [] for _ in "ab"]
        return [("write_lock", lock), *inside[0], ("downgrade", lock), *inside[1], ("read_unlock", lock)]
    if kind == "free_lock":
        return [("free", lock)]
    if kind in ("load", "get"):
        return [(kind, word, register)]
    if kind == "cas":
        return [("cas", word, draw.choice([0, 1]), draw.choice([1, 2]), register)]
    if kind == "take":
        return [(kind, word, draw.choice([1, 1, 2]))]
    if kind == "add":
        return [("add", word, draw.choice([1, -1]))]
    if kind in ("store", "set") or kind.startswith("await"):
        return [(kind, word, draw.choice([0, 1, 1, 2]))]
    if kind in ("trylock", "read_trylock"):
        return [(kind, lock, register)]
    return [(kind, item if kind in ("use", "free", "new", "unlink") else lock)]


def program_of(threads):
    """Locks that are freed need a class, or `free` would make them objects; it is one, so their order is checked."""
    steps = [step for thread in threads for step in thread]
    freed = {name for verb, name, *_ in steps if verb == "free" and name in "ab"}
    return Program(threads, classes=dict.fromkeys(freed, 1))


def visited(threads, preemptions=None, values=True, limit=MOST_SCHEDULES):
    """({class: how it ended, None or a kind}, executions that did not fail, {class: final values}), or None where there
    are too many schedules. AssertionError where two executions of one class end differently."""
    program = program_of(threads)
    kinds, endings, finals, fine, ran = program.kinds(), {}, {}, 0, 0
    with Explorer(program, Dpor(preemptions), cpu=CPU, carrier="fibers") as explorer:
        explorer.observing = True
        while not explorer.strategy.exhausted:
            block = explorer.run(ran, 1 if values else 256)
            ran += block.ran + block.pruned
            if ran > limit:
                return None
            hashes = memoryview(block.classes).cast("Q")
            failed = {index - block.first: kinds[kind] for index, kind in block.failures}
            if preemptions is None:
                assert explorer.strategy.endings() == [hashes[i] for i in failed], "the search tells another class"
            for i, one in enumerate(hashes):
                kind = failed.get(i)
                fine += kind is None
                assert endings.setdefault(one, kind) == kind, f"a class ends with {kind} and with {endings[one]}"
                if values and kind in (None, "deadlock"):
                    state = frozenset((name, value) for name, value in program.values(explorer).items() if value)
                    assert finals.setdefault(one, state) == state, "a class has two final states"
    return endings, fine, finals


def difference(threads, values=True):
    """What is wrong with the search on a program, in words; "" where nothing is; None where brute force gives up."""
    every = visited(threads, EVERY_SCHEDULE, values)
    if every is None:
        return None
    found = visited(threads, None, values, 4 * MOST_SCHEDULES)
    if found is None:
        return "more executions than there are schedules"
    classes, fine, finals = found
    if fine != sum(kind is None for kind in classes.values()):
        return "a class was visited twice"
    if classes != every[0]:
        missing = [kind for one, kind in every[0].items() if one not in classes]
        return f"{len(missing)} of {len(every[0])} classes were never visited ({missing})"
    return "" if finals == every[2] else "final states differ"
