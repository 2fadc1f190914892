"""Programs under SC, TSO and PSO, beside the abstract machines of these models: every state that an execution can end
with, and one execution for each Shasha-Snir trace. The counts of shapes for any number of threads are by hand."""

import random
from math import factorial

import against_machine
import pytest
from against_machine import difference, explored
from machine import Machine, final_states, traces
from random_memory import KINDS, PIECES, random_accesses, random_pieces

MODELS = ("sc", "tso", "pso")
# Programs of each kind.
EACH, MANY = 50, 2500


def compare(kind, model, first, last):
    for seed in range(first, last):
        draw = random.Random(f"{kind} {seed}")
        threads = random_pieces(draw, PIECES[kind]) if kind in PIECES else random_accesses(draw, KINDS[kind])
        wrong = difference(threads, model)
        assert not wrong, f"{kind} {seed} under {model}: {wrong}: {threads}"


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", (*KINDS, *PIECES))
def test_random_programs_end_as_on_the_abstract_machine_and_once_for_each_trace(kind, model):
    compare(kind, model, 0, EACH)


@pytest.mark.long
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", (*KINDS, *PIECES))
def test_many_random_programs_end_as_on_the_abstract_machine_and_once_for_each_trace(kind, model):
    compare(kind, model, EACH, MANY)


GRACE = [
    [("rcu_read_lock",), ("load", "y", "r"), ("load", "x", "s"), ("rcu_read_unlock",)],
    [("store", "y", 1), ("synchronize_rcu",), ("store", "x", 1)],
]


@pytest.mark.parametrize("model", MODELS)
def test_a_grace_period_that_does_not_wait_is_noticed(model, monkeypatch):
    """A section that sees what comes after a grace period began after it, and so sees what came before it."""
    assert difference(GRACE, model) == ""
    passes = Machine.sections

    def hasty(machine, state, number, verb):
        if verb != "synchronize_rcu":
            return passes(machine, state, number, verb)
        at, registers, buffer = state[0][number]
        threads = (*state[0][:number], (at + 1, registers, buffer), *state[0][number + 1 :])
        return [] if buffer else [(None, None, (threads, state[1]))]

    monkeypatch.setattr(Machine, "sections", hasty)
    assert difference(GRACE, model).startswith("ends that are missing: [[")


def ring(n, first, second):
    """n threads in a ring: each does `first` to its own variable and `second` to the next thread's."""
    return [
        [step(kind, f"x{at % n}", 1 + late) for late, (kind, at) in enumerate(((first, i), (second, i + 1)))]
        for i in range(n)
    ]


def step(kind, name, value):
    return (kind, name, value if kind.startswith("store") else f"r{value}")


def fenced(threads):
    return [[first, ("mb",), second] for first, second in threads]


def ring_but_one(n):
    return 2**n - 1


def whole_ring(n):
    return 2**n


# A shape: its threads for n, and how many traces it has under SC, TSO and PSO. In a ring every read sees the store or
# not, or the stores come in either order: all but the one cycle that the model forbids.
SHAPES = {
    "store buffering": (lambda n: ring(n, "store", "load"), (ring_but_one, whole_ring, whole_ring)),
    "store buffering with fences": (lambda n: fenced(ring(n, "store", "load")), (ring_but_one,) * 3),
    "load buffering": (lambda n: ring(n, "load", "store"), (ring_but_one,) * 3),
    "writes in a ring": (lambda n: ring(n, "store", "store"), (ring_but_one, ring_but_one, whole_ring)),
    "writes in a ring, with fences": (lambda n: fenced(ring(n, "store", "store")), (ring_but_one,) * 3),
    "writes in a ring, each a release": (
        lambda n: ring(n, "store", "store_release"),
        (ring_but_one,) * 3,
    ),
    "writers": (lambda n: [[("store", "x", i + 1)] for i in range(n)], (factorial,) * 3),
    "a writer and readers": (
        lambda n: [[("store", "x", 1)], *([("load", "x", "r")] for _ in range(n))],
        (lambda n: 2**n,) * 3,
    ),
    "counters": (lambda n: [[("add", "x", 1)] for _ in range(n)], (factorial,) * 3),
}


@pytest.mark.parametrize("n", (2, 3, 4, 5))
@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_has_as_many_traces_as_counted_by_hand(shape, n):
    threads_for, counts = SHAPES[shape]
    for model, count in zip(MODELS, counts, strict=True):
        _, executions, classes = explored(threads_for(n), model)
        assert (executions, classes) == (count(n), count(n)), model


def test_a_model_for_another_is_noticed(monkeypatch):
    buffering = ring(2, "store", "load")
    passing = [[("store", "x", 1), ("store", "y", 1)], [("load", "y", "r"), ("load", "x", "s")]]
    for threads, model, other in ((buffering, "tso", "sc"), (passing, "pso", "tso")):
        assert difference(threads, model) == ""
        with monkeypatch.context() as patched:
            patched.setattr(
                against_machine, "final_states", lambda threads, _, other=other: final_states(threads, other)
            )
            patched.setattr(against_machine, "traces", lambda threads, _, other=other, **k: traces(threads, other, **k))
            assert difference(threads, model).startswith("ends that are missing: []; that cannot be: [[")
