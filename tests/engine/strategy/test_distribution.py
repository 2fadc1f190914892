"""Each strategy draws from the distribution that its paper says: chi-square against exact probabilities."""

from math import comb

import pytest
from chi_square import follows
from engine_draws import exact, interleavings, schedules, shape_of
from engine_programs import events, explore, told

from anonvma_rt.engine.strategy.delay import Delay
from anonvma_rt.engine.strategy.pct import Pct
from anonvma_rt.engine.strategy.pos import Pos
from anonvma_rt.engine.strategy.preempt import Preempt
from anonvma_rt.engine.strategy.random import Random
from anonvma_rt.engine.strategy.starve import Starve
from anonvma_rt.engine.strategy.sticky import Sticky
from anonvma_rt.engine.strategy.surw import Surw
from anonvma_rt.engine.strategy.urw import Urw
from anonvma_rt.litmus.program import Program

COUNT = 20_000


def free(*lengths):
    """Tasks of so many steps, the first of which is their start, that have nothing to do with each other."""
    return Program([[("load", f"x{i}", "r")] * (length - 1) for i, length in enumerate(lengths)])


def run_model(lengths, choose):
    """Follows choose(step, current, enabled) to the end: who made each step."""
    left, told, current = list(lengths), "", None
    while any(left):
        enabled = [task for task, n in enumerate(left) if n]
        current = choose(len(told) + 1, current, enabled) if len(enabled) > 1 else enabled[0]
        left[current] -= 1
        told += str(current)
    return told


@pytest.mark.parametrize("lengths", [(3, 4), (2, 7), (2, 2, 3)])
def test_urw_makes_every_interleaving_equally_likely(lengths):
    found = interleavings(free(*lengths), Urw(), COUNT)
    number, rest = 1, sum(lengths)
    for length in lengths:
        number *= comb(rest, length)
        rest -= length
    assert len(found) == number
    uniform = dict.fromkeys(found, 1 / number)
    assert follows(found, uniform)
    assert not follows(interleavings(free(*lengths), Random(), COUNT), uniform)


def test_random_is_a_fair_coin_at_each_point():
    model = exact(lambda draw: run_model((2, 4), lambda step, current, enabled: enabled[draw(len(enabled))]))
    assert follows(interleavings(free(2, 4), Random(), COUNT), model)


# Interesting operations (!add) at other distances from each other in each task; the orders of them: 4!/(2! 1! 1!) = 12.
UNEVEN = Program(
    [
        [("load", "a", "r")] * 9 + [("!add", "m", 1)] + [("load", "a", "r")] * 5 + [("!add", "m", 1)],
        [("!add", "m", 1), ("load", "b", "r"), ("load", "b", "r")],
        [("load", "c", "r"), ("!add", "m", 1)],
    ]
)


def orders(strategy):
    """{order of the interesting operations: how often}."""
    found = {}
    shape = shape_of(UNEVEN)
    with explore(UNEVEN, told(strategy, *shape), seed=3) as explorer:
        for index in range(4000):
            order = "".join(str(e.task) for e in events(explorer.trace(index)) if e.op == "atomic")
            found[order] = found.get(order, 0) + 1
    return found


def test_surw_makes_every_order_of_the_interesting_operations_equally_likely():
    assert shape_of(UNEVEN) == (24, [17, 4, 3], [2, 1, 1])
    found = orders(Surw())
    assert len(found) == 12
    assert follows(found, dict.fromkeys(found, 1 / 12))
    uniform_walk = orders(Urw())
    assert not follows(uniform_walk, dict.fromkeys({**found, **uniform_walk}, 1 / 12))


def test_surw_without_anything_interesting_is_urw():
    program = free(3, 5)
    assert schedules(program, Surw(), 500) == schedules(program, Urw(), 500)


# What each task does to which object, its start included.
PENDING = [[None, ("store", "x"), ("load", "y")], [None, ("load", "y"), ("store", "x")]]


def pos_model(draw):
    """Only the order of the priorities matters, also that of those which were drawn and used up: a new one is equally
    likely to fall into each gap."""
    ranking, owner, at, told = [], {}, [0, 0], ""

    def give(task):
        owner[task] = object()
        ranking.insert(draw(len(ranking) + 1), owner[task])

    give(0)
    give(1)
    while True:
        enabled = [task for task in (0, 1) if at[task] < len(PENDING[task])]
        if len(enabled) == 1:
            # Nobody is left to compare with: the rest is forced.
            return told + str(enabled[0]) * (len(PENDING[enabled[0]]) - at[enabled[0]])
        chosen = max(enabled, key=lambda task: ranking.index(owner[task]))
        other = 1 - chosen
        made, waits = PENDING[chosen][at[chosen]], PENDING[other][at[other]]
        at[chosen] += 1
        told += str(chosen)
        if at[chosen] < len(PENDING[chosen]):
            give(chosen)
        if made and waits and made[1] == waits[1] and "store" in (made[0], waits[0]):
            give(other)


def test_pos_draws_a_priority_for_each_operation_and_again_after_a_race():
    operands = {"store": (1,), "load": ("r",)}
    program = Program([[(op[0], op[1], *operands[op[0]]) for op in thread[1:]] for thread in PENDING])
    found = interleavings(program, Pos(), COUNT)
    assert follows(found, exact(pos_model))
    coin = exact(lambda draw: run_model((3, 3), lambda step, current, enabled: enabled[draw(len(enabled))]))
    assert not follows(found, coin)


@pytest.mark.parametrize("delays", [0, 1, 2, 3])
def test_delay_is_a_round_robin_that_passes_over_a_task_at_random_steps(delays):
    lengths = (3, 2, 3)

    def model(draw):
        at = [1 + draw(sum(lengths)) for _ in range(delays)]

        def choose(step, current, enabled):
            def in_turn(first):
                return min(enabled, key=lambda task: (task - first) % 3)

            turn = in_turn(current or 0)
            for _ in range(at.count(step)):
                turn = in_turn(turn + 1)
            return turn

        return run_model(lengths, choose)

    assert follows(interleavings(free(*lengths), Delay(delays), COUNT), exact(model))


@pytest.mark.parametrize("bound", [0, 1, 2, 3])
def test_preempt_interrupts_at_random_steps_and_goes_on_with_anybody(bound):
    lengths = (3, 2, 2)

    def model(draw):
        at = {1 + draw(sum(lengths)) for _ in range(bound)}

        def choose(step, current, enabled):
            if current not in enabled:
                return enabled[draw(len(enabled))]
            others = [task for task in enabled if task != current]
            return others[draw(len(others))] if step in at else current

        return run_model(lengths, choose)

    assert follows(interleavings(free(*lengths), Preempt(bound), COUNT), exact(model))


def test_starve_keeps_one_task_away_for_log_uniform_windows():
    lengths = (3, 2, 2)

    def model(draw):
        end = victim = 0

        def choose(step, current, enabled):
            nonlocal end, victim
            if step > end:
                victim = enabled[draw(len(enabled))]
                magnitude = 1 << draw(3)  # seven steps: windows of 1, 2 to 3, 4 to 7
                end = step + magnitude + draw(magnitude) - 1
            among = [task for task in enabled if task != victim]
            return current if current in among else among[draw(len(among))]

        return run_model(lengths, choose)

    assert follows(interleavings(free(*lengths), Starve(), COUNT), exact(model))


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_pct_runs_the_highest_priority_and_lets_it_fall_at_random_steps(depth):
    lengths = (3, 2, 2)

    def model(draw):
        priority = []
        for i in range(3):
            priority.append(None)
            at = draw(i + 1)
            priority[i] = priority[at]
            priority[at] = depth + i
        change = [1 + draw(sum(lengths)) for _ in range(depth - 1)]
        left, told = list(lengths), ""
        for step in range(1, 1 + sum(lengths)):
            for fallen in reversed([at for at in range(depth - 1) if change[at] == step]):
                enabled = [task for task in range(3) if left[task]]
                priority[max(enabled, key=lambda task: priority[task])] = fallen
            chosen = max((task for task in range(3) if left[task]), key=lambda task: priority[task])
            left[chosen] -= 1
            told += str(chosen)
        return told

    assert follows(interleavings(free(*lengths), Pct(depth), COUNT), exact(model))


@pytest.mark.parametrize("n", [2, 4])
def test_sticky_goes_on_but_for_one_step_in_n(n):
    lengths = (3, 2, 2)

    def model(draw):
        def choose(step, current, enabled):
            if current in enabled and draw(n):
                return current
            others = [task for task in enabled if task != current]
            return others[draw(len(others))]

        return run_model(lengths, choose)

    found = interleavings(free(*lengths), Sticky(n), COUNT)
    assert follows(found, exact(model))
    coin = exact(lambda draw: run_model(lengths, lambda step, current, enabled: enabled[draw(len(enabled))]))
    assert not follows(found, coin)


def test_pos_does_not_draw_again_for_readers_of_one_lock():
    """So it is as if they had nothing to do with each other; which a walk that takes them for a race is not."""
    apart = Program([[("read_lock", "a"), ("read_unlock", "a")], [("read_lock", "b"), ("read_unlock", "b")]])
    shared = Program([[("read_lock", "a"), ("read_unlock", "a")]] * 2)
    assert schedules(shared, Pos(), 3000) == schedules(apart, Pos(), 3000)
    writers = Program([[("write_lock", "a"), ("write_unlock", "a")]] * 2)
    assert schedules(writers, Pos(), 3000) != schedules(
        Program([[("write_lock", n), ("write_unlock", n)] for n in "ab"]), Pos(), 3000
    )
    waiter = [[("read_lock", "a"), ("read_unlock", "a")], [("wait", "a")]]
    elsewhere = [[("read_lock", "a"), ("read_unlock", "a")], [("wait", "b")]]
    assert schedules(Program(waiter), Pos(), 3000) != schedules(Program(elsewhere), Pos(), 3000)
