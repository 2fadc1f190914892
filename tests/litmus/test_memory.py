"""--memory tso and pso, as a user meets them: verdicts that name their model, histories, reproducers, wrong words.

What the classes and final states are is held against an enumerator in test_memory_models.py.
"""

import json

import pytest

from anonvma_rt import hunt, replay, shrink, verify
from anonvma_rt.cli import main
from anonvma_rt.errors import UserError
from anonvma_rt.execution.reproducer import Reproducer
from anonvma_rt.litmus.litmus import Litmus

# What each shape shows under each model: Owens, Sarkar, Sewell, "A Better x86 Memory Model: x86-TSO" (2009) for TSO.
SHAPES = {
    "sb": ("none", "assertion", "assertion"),
    "r": ("none", "assertion", "assertion"),
    "mp": ("none", "none", "assertion"),
    "2+2w": ("none", "none", "assertion"),
    "s": ("none", "none", "assertion"),
    "isa2": ("none", "none", "assertion"),
    "lb": ("none", "none", "none"),
    "iriw": ("none", "none", "none"),
    "wrc": ("none", "none", "none"),
    "corr": ("none", "none", "none"),
}
MODELS = ("sc", "tso", "pso")


@pytest.mark.parametrize("name", SHAPES)
def test_each_classic_shape_is_reachable_where_its_model_says_so(name):
    for memory, kind in zip(MODELS, SHAPES[name], strict=True):
        one = verify(name, memory=memory).results[0]
        found = "none" if one.complete else "".join(one.violating_classes)
        assert found == kind, f"{name} under {memory}: {one.verdict}"
        if kind == "none":
            assert one.verdict.startswith(f"VERIFIED under {memory.upper()} (complete, ")


def store_buffering(between):
    return Litmus.of(
        "sb-between",
        {"P0": ["store x 1", *between, "load y r0"], "P1": ["store y 1", *between, "load x r1"]},
        forbidden=["r0 == 0 and r1 == 0"],
    )


@pytest.mark.parametrize("memory", ["tso", "pso"])
def test_a_locked_operation_drains_the_buffer_and_its_absence_does_not(memory):
    assert verify(store_buffering(["add z 1"]), memory=memory).results[0].complete
    assert verify(store_buffering(["lock l", "unlock l"]), memory=memory).results[0].complete
    assert not verify(store_buffering([]), memory=memory).results[0].complete


@pytest.mark.parametrize("memory", ["tso", "pso"])
def test_locks_keep_what_they_protect_in_order(memory):
    """Whoever takes the lock sees what was stored under it; without the lock it does not."""
    step = ["lock l", "load x r{i}", "store x 1", "unlock l"]
    threads = {f"P{i}": [line.replace("{i}", str(i)) for line in step] for i in range(2)}
    locked = Litmus.of("locked", threads, forbidden=["r0 == 0 and r1 == 0"])
    bare = Litmus.of("bare", {n: lines[1:3] for n, lines in threads.items()}, forbidden=["r0 == 0 and r1 == 0"])
    assert verify(locked, memory=memory).results[0].complete
    assert not verify(bare, memory=memory).results[0].complete


def test_a_task_sees_its_own_store_before_the_others_do():
    test = Litmus.of(
        "own",
        {"P0": ["store x 1", "load x a", "load y b"], "P1": ["store y 1", "load y c", "load x d"]},
        forbidden=["a == 1 and b == 0 and c == 1 and d == 0"],
    )
    assert verify(test).results[0].complete
    assert not verify(test, memory="tso").results[0].complete
    never = Litmus.of("own-0", {"P0": ["store x 1", "load x a"], "P1": ["load x b"]}, forbidden=["a == 0"])
    assert verify(never, memory="pso").results[0].complete


def test_an_await_sees_the_own_store_too_and_ends_when_another_one_is_flushed():
    both = Litmus.of("await", {"P0": ["store x 1", "await x 1", "load y r"], "P1": ["store y 1", "await x 1"]})
    for memory in MODELS:
        assert verify(both, memory=memory).results[0].complete
    never = Litmus.of("await-never", {"P0": ["store x 1", "await x 2"]})
    assert hunt(never, runs=10, memory="tso").results[0].violations == {"deadlock": 10}


def test_a_violation_replays_shrinks_and_says_its_model(tmp_path):
    found = hunt("sb", runs=200, memory="tso", out=tmp_path).results[0]
    assert found.violations["assertion"] > 0
    one = Reproducer.load(found.first.reproducer)
    assert (one.memory, json.loads(tmp_path.glob("*.json").__next__().read_text())["memory"]) == ("tso", "tso")
    again = replay(one, times=5)
    assert (again.reproduced, again.same_trace) == (5, True)
    small = shrink(one)
    assert small.kind == "assertion" and small.after.switches <= one.switches
    rows = [text for _, _, text in again.trace.rows()]
    assert {"x = 1 becomes visible", "y = 1 becomes visible"} <= set(rows)
    assert again.trace.tasks == ["P0", "P1", "P0's buffer", "P1's buffer"]


@pytest.mark.parametrize(
    "strategy", ["random", "sticky", "pct", "pos", "urw", "surw", "preempt", "starve", "delay", "guided"]
)
def test_every_strategy_flushes_late_enough_to_find_store_buffering(strategy):
    assert hunt("sb", strategy=strategy, runs=3000, memory="tso").results[0].violations


def test_threads_and_fibers_make_the_same_executions():
    ends = [hunt("mp", carrier=c, runs=500, memory="pso").results[0] for c in ("threads", "fibers")]
    assert len({(str(e.violations), e.points, e.switches, e.classes, str(e.first.index)) for e in ends}) == 1


def test_several_explorers_and_a_bound_visit_the_same():
    alone = verify("isa2", memory="tso")
    assert verify("isa2", memory="tso", jobs=2).results[0].classes == alone.results[0].classes
    none = verify("sb", memory="tso", preemptions=0, all_violations=True).results[0]
    # To flush interrupts nobody: both tasks can store and load before anything becomes visible.
    assert none.violating_classes == {"assertion": 1}


def test_what_is_modelled_under_sc_alone_says_so():
    with pytest.raises(UserError, match="lkml-2011: --memory tso: the simulated kernel is modelled under SC"):
        verify("lkml-2011", memory="tso")
    with pytest.raises(UserError, match=r'unknown --memory "arm" \(choices: sc, tso, pso\)'):
        hunt("sb", memory="arm")


def test_more_variables_than_there_are_buffers_are_refused():
    many = Litmus.of("many", {"P0": [f"store x{i} 1" for i in range(40)], "P1": ["load x0 r"]})
    with pytest.raises(UserError, match="P0 stores to more than 31 variables"):
        hunt(many, runs=2, memory="pso")
    assert hunt(many, runs=2, memory="tso").results[0].executions == 2


@pytest.mark.parametrize("memory", MODELS)
@pytest.mark.parametrize(
    "threads",
    [
        {"P0": ["store x 1", "spin x 2"], "P1": ["store x 2"]},
        {"P0": ["await y 1", "store x 1", "spin x 2"], "P1": ["store x 2", "store y 1"]},
        {"P0": ["store x 1", "load y r", "spin x 2"], "P1": ["add x 2", "add x -1", "store y 1"]},
    ],
)
def test_who_spins_on_its_own_store_spins_for_ever_where_it_hides_what_others_stored(memory, threads):
    """Neither the flush of its own store, nor what others write before that, is anything new to it."""
    test = Litmus.of("own-spin", threads)
    assert hunt(test, runs=500, memory=memory).results[0].violations["livelock"] > 0
    assert verify(test, memory=memory, all_violations=True).results[0].violating_classes["livelock"] > 0
    ends = Litmus.of("other", {"P0": ["store x 1", "spin y 1"], "P1": ["store y 1", "spin x 1"]})
    assert verify(ends, memory=memory).results[0].complete


def test_no_proof_under_tso_speaks_of_data_races_for_which_nobody_looked():
    """Two plain stores that only TSO lets come at once: Dekker's flags without fences in front of them."""
    lines = ['litmus = "dekker-plain"', 'about = "a plain store behind flags"']
    for i, (own, other) in enumerate(("xy", "yx")):
        inner = f'{{ if = "r{i} == 0", steps = ["plain_store z {i + 1}"] }}'
        lines += ["[[thread]]", f'name = "P{i}"', f'steps = ["store {own} 1", "load {other} r{i}", {inner}]']
    test = Litmus.from_text("\n".join(lines) + "\n")
    assert verify(test).results[0].verdict.startswith("VERIFIED under SC (complete, ")
    weaker = verify(test, memory="tso").results[0]
    assert "data-race" in weaker.violating_classes or "data races are looked for under SC alone" in weaker.verdict


def test_a_full_buffer_waits():
    deep = Litmus.of("deep", {"P0": ["store x 1"] * 200 + ["store y 1"], "P1": ["load y r", "load x s"]},
                     forbidden=["r == 1 and s == 0"])  # fmt: skip
    assert hunt(deep, runs=200, memory="tso").results[0].violations == {}


def test_releases_are_of_a_kernel_and_take_no_other_model(capsys):
    assert main(["hunt", "lkml-2011", "--releases", "3.0", "--memory", "tso"]) == 2
    assert "modelled under SC alone: omit --memory" in capsys.readouterr().err
