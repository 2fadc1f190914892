"""What a shrinker asks of the engine: all executions with few switches, an equivalent one with fewer, and one that
follows a schedule which does not fit. The truth is small programs, all of whose interleavings are enumerated."""

from itertools import groupby
from math import factorial, prod

import pytest
from engine_programs import CPU
from hypothesis import example, given
from hypothesis import strategies as st
from interpreter import class_of, interleavings
from random_programs import small_programs, steps

from anonvma_rt.engine.order.reorder import Order
from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.search.few import Few
from anonvma_rt.engine.strategy import script
from anonvma_rt.engine.strategy.random import Random
from anonvma_rt.litmus.program import Program

MOST = 2000  # interleavings of a program, if nothing ever waits


def few_interleavings(threads):
    lengths = [len(thread) + 1 for thread in threads]
    return factorial(sum(lengths)) // prod(map(factorial, lengths)) <= MOST


PROGRAMS = small_programs(7).filter(few_interleavings)


def explorer_of(threads, strategy):
    return Explorer(Program([steps(thread) for thread in threads]), strategy, cpu=CPU, carrier="fibers")


class Truth:
    """All interleavings of a program, by the order in which the threads make their steps."""

    def __init__(self, threads):
        self.classes = {
            tuple(step[0] for step in done): class_of(done) for done, _ in interleavings(threads, starts=True)
        }
        self.beginnings = {order[:at] for order in self.classes for at in range(len(order) + 1)}

    def fewest_switches(self):
        """For each class the number of switches of that member which has the fewest."""
        fewest = {}
        for order, kind in self.classes.items():
            switches = len(list(groupby(order))) - 1
            fewest[kind] = min(fewest.get(kind, switches), switches)
        return fewest

    def class_of(self, segments):
        """The class of the execution with that schedule; a last step in which nobody could go on belongs to nobody."""
        order = order_of(segments)
        return self.classes[order if order in self.classes else order[:-1]]

    def preemptions(self, segments):
        """How often a thread is left that could have gone on."""
        order = order_of(segments)
        left = [at for at in range(1, len(order)) if order[at] != order[at - 1]]
        return sum((*order[:at], order[at - 1]) in self.beginnings for at in left)


def order_of(segments):
    return tuple(task for task, made in segments for _ in range(made))


def visited(threads, few):
    """The segments of every execution that Few lets happen."""
    with explorer_of(threads, few) as explorer:
        index = 0
        while not few.exhausted:
            done = explorer.run(index, 500)
            made = [few.segments(i) for i in range(index, index + done.ran + done.pruned)]
            yield from filter(None, made)
            assert len(list(filter(None, made))) == done.ran
            index += done.ran + done.pruned


# Whoever waits until nobody has a lock waits for readers, too.
@example([[("wait", "A")], [("read_lock", "A"), ("read_unlock", "A"), ("read_trylock", "A", "r")]])
@given(threads=PROGRAMS)
def test_few_visits_exactly_the_classes_that_have_a_member_with_so_few_switches(threads):
    truth = Truth(threads)
    fewest = truth.fewest_switches()
    for switches in range(1 + max(fewest.values())):
        few = Few(switches)
        made = list(visited(threads, few))
        assert all(len(segments) <= switches + 1 for segments in made)
        expected = {kind for kind, least in fewest.items() if least <= switches}
        assert set(map(truth.class_of, made)) == expected
        assert not few.limited


@given(threads=PROGRAMS)
def test_few_counts_preemptions_and_says_whether_they_left_something_out(threads):
    truth = Truth(threads)
    everything = {tuple(segments) for segments in visited(threads, Few(4))}
    for bound in range(3):
        few = Few(4, bound)
        made = {tuple(segments) for segments in visited(threads, few)}
        assert made == {one for one in everything if truth.preemptions(one) <= bound}
        assert few.limited or made == everything


def test_few_says_that_preemptions_were_left_out():
    threads = [[("add", "x", 1)] * 2] * 2
    assert [max(map(len, visited(threads, Few(5, bound)))) for bound in range(4)] == [2, 3, 4, 5]
    limited = []
    for bound in range(4):
        few = Few(3, bound)
        list(visited(threads, few))
        limited.append(few.limited)
    assert limited == [True, True, True, False]


def test_few_makes_no_execution_twice_except_while_it_learns_what_conflicts():
    assert list(visited([[("add", "x", 1)], [("add", "y", 1)]], Few(9))) == [[(0, 2), (1, 2)], [(1, 2), (0, 2)]]
    made = [tuple(segments) for segments in visited([[("add", "x", 1), ("add", "y", 1)]] * 2, Few(9))]
    different = set(made)
    assert len(made) > len(different), "it began anew when it had learned of x and y"
    assert set(made[-len(different) :]) == different, "and then made each of them once"


def test_few_wants_a_number_of_switches_that_it_can_remember():
    with pytest.raises(ValueError, match="at most 65535 switches"):
        Few(1 << 16)
    with pytest.raises(OverflowError):
        Few(-1)


def recorded(threads, index):
    with explorer_of(threads, Random()) as explorer:
        return explorer.trace(index)


@given(threads=PROGRAMS, index=st.integers(0, 1000))
def test_an_execution_in_another_order_is_equivalent_and_has_the_fewest_switches_of_its_class(threads, index):
    traced = recorded(threads, index)
    order = Order(traced.events, len(threads))
    cuts = order.cuts(order.whole())
    with explorer_of(threads, script.cuts(cuts)) as explorer:
        again = explorer.trace(0)
    truth = Truth(threads)
    kind = truth.class_of(traced.segments)
    assert truth.class_of(again.segments) == kind
    assert len(cuts) <= len(traced.segments)
    tries = {"trylock", "read_trylock"} & {verb for thread in threads for verb, *_ in thread}
    if not tries:  # whether a try failed is not recorded, so two that did are kept in their order
        assert len(cuts) - 1 == truth.fewest_switches()[kind]


def test_what_did_not_lead_to_the_last_step_is_left_out():
    threads = [[("store", "x", 1), ("store", "y", 1)], [("load", "z", "r")], [("load", "x", "r")]]
    with explorer_of(threads, script.cuts([(1, 2), (0, 3), (2, 2)])) as explorer:
        traced = explorer.trace(0)
    order = Order(traced.events, 3)
    assert order.whole() == (3, 2, 2)
    assert order.past() == (2, 0, 2), "x was stored before it was loaded; y and z are no matter"
    assert order.cuts(order.past()) == [(0, 2), (2, 2)]


def test_one_who_looks_depends_on_the_last_change_however_many_looked_in_between():
    words = [[("store", "x", 1)], [("load", "x", "r")], [("load", "x", "r")]]
    locks = [[("lock", "x"), ("unlock", "x")], [("read_lock", "x"), ("read_unlock", "x")], [("read_lock", "x")]]
    for threads in (words, locks):
        with explorer_of(threads, script.cuts([(0, 9), (1, 9), (2, 2)])) as explorer:
            order = Order(explorer.trace(0).events, 3)
        assert order.past() == (len(threads[0]) + 1, 0, 2)


def test_an_execution_that_is_too_long_is_left_as_it_is():
    with explorer_of([[("add", "x", 1)]] * 2, Random()) as explorer:
        traced = explorer.trace(0)
    assert Order(traced.events * (1 << 17), 2).steps == 0
    assert Order(b"", 2).steps == 0


def followed(threads, cuts, **how):
    with explorer_of(threads, script.cuts(cuts, **how)) as explorer:
        return explorer.trace(0).segments


def test_cuts_follow_what_can_be_followed_and_pass_over_the_rest():
    two = [[("add", "x", 1)] * 4, [("add", "x", 1)] * 4]
    assert followed(two, [(0, 2), (1, 3), (0, 5)]) == [(0, 2), (1, 3), (0, 3), (1, 2)]
    assert followed(two, [(0, 2), (0, 4), (1, 1)]) == [(0, 4), (1, 4 + 1), (0, 1)]
    assert followed(two, [(9, 7), (99, 1), (1, 0), (1, 99)]) == [(1, 5), (0, 5)], "no such task, and there already"
    locks = [[("lock", "A"), ("unlock", "A")], [("lock", "A"), ("unlock", "A")]]
    assert followed(locks, [(0, 2), (1, 3), (0, 3)]) == [(0, 2), (1, 1), (0, 1), (1, 2)], "1 waits for 0"


def test_fair_cuts_end_with_turns_for_everybody():
    long = [[("add", "x", 1)] * 40] * 3
    assert followed(long, [(1, 3)], fair=True)[:4] == [(1, 3), (2, 16), (0, 16), (1, 16)]
    assert followed(long, [(1, 3)])[:2] == [(1, 41), (0, 41)]


def test_a_clone_of_a_strategy_makes_the_same_executions():
    threads = [[("add", "x", 1)] * 3] * 2
    assert followed(threads, [(0, 1), (1, 2)]) == explorer_segments(threads, script.cuts([(0, 1), (1, 2)]).clone())
    few = Few(3, 1).clone()
    assert (few.switches, few.preemptions) == (3, 1)


def explorer_segments(threads, strategy):
    with explorer_of(threads, strategy) as explorer:
        return explorer.trace(0).segments
