"""Data races by their definition, on the abstract machine of SC: some state in which two threads come to accesses of
one variable, of which one is plain and one writes. It knows nothing of the engine."""

from machine import FENCES, LOADS, LOCKS, Machine

PLAIN = "plain_"
NO_ACCESS = {*LOCKS, *FENCES, "rcu_read_lock", "rcu_read_unlock", "synchronize_rcu"}


def partly_plain(draw, threads):
    """The same program with some loads and stores made plain. draw: a random.Random."""
    return [
        [
            (PLAIN + verb if verb in ("load", "store") and draw.random() < 0.4 else verb, *words)
            for verb, *words in steps
        ]
        for steps in threads
    ]


def races(threads):
    """Whether a program has a data race under SC."""
    machine = Machine([[(verb.removeprefix(PLAIN), *words) for verb, *words in steps] for steps in threads], "sc")
    left, seen = [machine.first()], {machine.first()}
    while left:
        state = left.pop()
        coming = [steps[at] for steps, (at, *_) in zip(threads, state[0], strict=True) if at < len(steps)]
        coming = [step for step in coming if step[0] not in NO_ACCESS]
        if any(conflict(one, other) for i, one in enumerate(coming) for other in coming[:i]):
            return True
        for *_, after in machine.moves(state):
            if after not in seen:
                seen.add(after)
                left.append(after)
    return False


def conflict(one, other):
    verbs = (one[0], other[0])
    reads = [verb.removeprefix(PLAIN) in LOADS for verb in verbs]
    return one[1] == other[1] and not all(reads) and any(verb.startswith(PLAIN) for verb in verbs)
