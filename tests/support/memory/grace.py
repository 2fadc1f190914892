"""Sections and grace periods by their law alone, under SC, by exploring every state: it knows nothing of the engine.

A grace period is two steps. The first notes which sections of other threads are under way, and the second waits until
all of these have ended. Source: McKenney, "Is Parallel Programming Hard, And, If So, What Can You Do About It?",
chapter 9.
Steps: ("load", x, r), ("store", x, value), ("rcu_read_lock",), ("rcu_read_unlock",), ("synchronize_rcu",).
"""


def ends(threads):
    """The values that are not 0 ("x", "0:r"), for each end."""
    found, seen = set(), set()
    # Of each thread: its position, how deep it is in sections, how many it has begun, and what its grace period awaits.
    coming = [(((0, 0, 0, None),) * len(threads), frozenset())]
    while coming:
        state = coming.pop()
        if state in seen:
            continue
        seen.add(state)
        if all(at == len(thread) for (at, *_), thread in zip(state[0], threads, strict=True)):
            found.add(frozenset(item for item in state[1] if item[1]))
        for number in range(len(threads)):
            coming += step(threads, state, number)
    return found


def step(threads, state, number):
    """The states behind the next step of a thread, one or none."""
    of_threads, values = state
    at, depth, begun, awaited = of_threads[number]
    if at == len(threads[number]):
        return
    verb, *rest = threads[number][at]
    values = dict(values)
    if verb == "load":
        values[f"{number}:{rest[1]}"] = values.get(rest[0], 0)
    elif verb == "store":
        values[rest[0]] = rest[1]
    elif verb == "rcu_read_lock":
        depth, begun = depth + 1, begun + (depth == 0)
    elif verb == "rcu_read_unlock":
        depth -= 1
    elif awaited is None:
        awaited = frozenset((u, other[2]) for u, other in enumerate(of_threads) if u != number and other[1])
        at -= 1
    else:
        if any(of_threads[u][1] and of_threads[u][2] == section for u, section in awaited):
            return
        awaited = None
    after = (at + 1, depth, begun, awaited)
    yield (*of_threads[:number], after, *of_threads[number + 1 :]), frozenset(values.items())
