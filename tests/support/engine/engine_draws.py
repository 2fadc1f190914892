"""What a strategy's distribution is, exactly, and a sample of what it does: for tests of strategies.

A model of a strategy is a function of `draw`, where draw(n) is a number below n; exact() tries every sequence of
draws. The models know nothing of the engine: they are the strategies once more, for tasks that never wait.
"""

from collections import Counter, defaultdict
from fractions import Fraction

from engine_programs import explore, split_digests, told

from anonvma_rt.engine.strategy import script


def exact(model):
    """{outcome: its probability} over all draws."""
    outcomes = Counter()
    todo = [()]
    prefix, made, ways = (), [], 1

    def draw(n):
        nonlocal ways
        at = len(made)
        if at >= len(prefix):
            todo.extend((*made, other) for other in range(1, n))
        made.append(prefix[at] if at < len(prefix) else 0)
        ways *= n
        return made[-1]

    while todo:
        prefix, made, ways = todo.pop(), [], 1
        outcome = model(draw)
        outcomes[outcome] += Fraction(1, ways)
    assert sum(outcomes.values()) == 1
    return outcomes


def shape_of(program):
    """What the profile of a program says: the arguments of Strategy.profiled."""
    with explore(program, script.replay()) as explorer:
        profile = explorer.profile(script.replay(), 0, 10**6)
    return profile.longest, [steps for steps, _ in profile.tasks], [marks for _, marks in profile.tasks]


def schedules(program, strategy, count, seed=1):
    """{segments: how many executions}, each schedule looked at once."""
    with explore(program, told(strategy, *shape_of(program)), seed=seed) as explorer:
        by_digest = defaultdict(list)
        for index, digest in enumerate(split_digests(explorer.run(0, count))):
            by_digest[digest].append(index)
        found = Counter()
        for indices in by_digest.values():
            found[tuple(explorer.trace(indices[0]).segments)] += len(indices)
    return found


def interleavings(program, strategy, count, seed=1):
    """{"0110...": how many executions}: who made each step."""
    found = Counter()
    for segments, n in schedules(program, strategy, count, seed).items():
        found["".join(str(task) * steps for task, steps in segments)] += n
    return found
