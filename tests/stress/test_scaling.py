"""The scaling experiment: its subject does what it says, and takes the root's lock exactly as often as the model says.

The counts are compared on the deterministic carriers, where they must not depend on the schedule either. How fast
anything is belongs to the benchmark.
"""

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest
from engine_programs import CPU

from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.run.records import OPS
from anonvma_rt.engine.strategy.random import Random
from anonvma_rt.engine.strategy.sticky import Sticky
from anonvma_rt.kernel.algorithm import Algorithm
from anonvma_rt.stress.scaling.subject import Scaling

scaling = pytest.importorskip("anonvma_rt.stress.scaling.experiment", reason="anonvma_rt.stress needs an installation")
plot = pytest.importorskip("anonvma_rt.stress.scaling.plot")


def run(strategy, point, carrier="fibers", strategy_of_search=None, **how):
    subject = scaling.subject(strategy, point, **how)
    with Explorer(subject, strategy_of_search or Sticky(), carrier=carrier, cpu=CPU) as explorer:
        block = explorer.run(0, 1)
    assert not block.failures and block.halt is None
    return subject, subject.measured()


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(scaling, "PAGES_AT_ONCE", 512)


@pytest.mark.parametrize("depth", [1, 4])
@pytest.mark.parametrize("merging", [True, False])
@pytest.mark.parametrize("strategy", [*scaling.STRATEGIES, "moveto-tail-merge-only", "peeking"])
def test_the_roots_lock_is_taken_as_often_as_the_model_says(strategy, merging, depth):
    for pages in (1, 63, 64, 65, 512, 513, 1000):
        point = scaling.Point(sharers=2, pages=pages, walkers=1, merging=merging, depth=depth)
        _, measured = run(strategy, point, walks=3)
        wanted = scaling.acquisitions(Algorithm.parse(strategy), point)
        assert sum(row["acquisitions"] for row in measured[:2]) == wanted, (pages, measured)
        assert all(sum(row["waits"]) == sum(row["holds"]) == row["acquisitions"] for row in measured[:2])


@pytest.mark.parametrize("carrier", ["threads", "fibers"])
def test_the_count_does_not_depend_on_schedule_carrier_or_walkers(carrier):
    point = scaling.Point(sharers=3, pages=100, walkers=2)
    for strategy in scaling.STRATEGIES:
        _, measured = run(strategy, point, carrier, Random(), walks=4)
        assert sum(row["acquisitions"] for row in measured[:3]) == scaling.acquisitions(
            Algorithm.parse(strategy), point
        )
        assert all(row["calls"] == 2 * point.rounds and row["error"] == 0 for row in measured[:3])


def test_the_meter_agrees_with_the_history():
    point = scaling.Point(sharers=1, pages=130, walkers=0)
    for strategy in scaling.STRATEGIES:
        subject = scaling.subject(strategy, point)
        with Explorer(subject, Sticky(), carrier="fibers") as explorer:
            recorded = explorer.trace(0)
            from anonvma_rt.engine.run.records import EVENT

            locks = [a for _, _, op, _, a, _, _ in EVENT.iter_unpack(recorded.events) if OPS[op] == "lock"]
        taken = subject.measured()[0]["acquisitions"]
        # Of all locks it is the only one that is taken so often.
        assert taken in {locks.count(word) for word in set(locks)}


def test_sharers_share_one_root_and_the_control_does_not():
    subject, _ = run("moveto-tail", scaling.Point(sharers=2, pages=4, walkers=1), walks=2)
    assert subject.measured()[2]["calls"] >= 1 and len(subject.latencies()) == subject.measured()[2]["calls"]
    together = scaling.Point(sharers=2, pages=64, walkers=0)
    _, shared = run("rmap-locks", together)
    _, apart = run("rmap-locks", replace(together, apart=True))
    assert [row["acquisitions"] for row in shared] == [row["acquisitions"] for row in apart]


def test_bad_numbers_are_refused():
    fields = Algorithm.parse("unpatched").as_dict()
    for wrong in (
        {"movers": 0},
        {"movers": 250, "walkers": 6},
        {"pages": 0},
        {"rounds": 0},
        {"depth": 0},
        {"walkers": -1},
    ):
        with pytest.raises(ValueError):
            Scaling(fields, **wrong)


def made(strategy, point, rate):
    return scaling.Measured(strategy, point, (rate, 0.9 * rate, 1.1 * rate), 6, 6, 120.0, 900.0, 1024, 700, 2400)


def results():
    """As if moveto-tail were twice as fast from 64 pages on, and half as fast below."""
    for point in scaling.usual_points():
        for strategy in scaling.STRATEGIES:
            fast = 2e6 if strategy == "moveto-tail" and point.pages >= 64 else 5e5
            yield made(strategy, point, fast if strategy == "moveto-tail" else 1e6)


def test_table_crossover_and_picture():
    found = list(results())
    assert [scaling.crossover(found, sharers) for sharers in scaling.SHARERS] == [64] * 5
    slower = [one for one in found if one.strategy != "moveto-tail"]
    slower += [made("moveto-tail", one.point, 1.0) for one in found if one.strategy == "moveto-tail"]
    assert scaling.crossover(slower, 4) is None
    rows = scaling.table(found).splitlines()
    assert len(rows) == 2 + len(found) and len({row.count("|") for row in rows}) == 1
    image = ElementTree.fromstring(scaling.picture(found))
    texts = [element.text for element in image.iter() if element.text]
    assert {*scaling.STRATEGIES, "16 sharers", "pages per mremap"} <= set(texts)
    assert ElementTree.fromstring(scaling.picture([])) is not None, "nothing measured is a picture, too"


def test_the_points_are_those_of_the_experiment():
    usual, whole = scaling.usual_points(), scaling.all_points()
    assert len(set(usual)) == len(usual) and set(scaling.PAGES) == {p.pages for p in usual}
    assert {p.walkers for p in usual} == {0, 1, 4} and {p.depth for p in usual} == {1, 8}
    assert {p.merging for p in usual} == {p.apart for p in usual} == {True, False}
    assert len(whole) == 5 * 6 * 3 * 2 * 2 + 5


def test_ticks_are_round_and_few():
    for top in (0.013, 0.9, 1.0, 4.9, 17, 1234.5):
        marks = plot.ticks(top)
        assert marks[0] == 0 and 2 <= len(marks) <= 6 and marks[-1] <= top


def test_all_at_once_the_counts_are_the_models_too(monkeypatch):
    few = [scaling.Point(sharers=2, pages=70), scaling.Point(sharers=3, pages=8, walkers=0, merging=False)]
    monkeypatch.setattr(scaling, "usual_points", lambda: few)
    told = []
    result = scaling.run(scaling.Options(rounds=2, tell=told.append))
    assert json.loads(json.dumps(result)) == result and told[-1] == "scaling 8/8"
    assert all(row["acquisitions"] == row["model"] > 0 for row in result["results"])
    assert all(0 < row["pages_per_second"][1] <= row["pages_per_second"][2] for row in result["results"])
    assert "moveto-tail" in scaling.text(result)


def test_no_figures_where_the_lock_was_taken_once_too_often(monkeypatch):
    monkeypatch.setattr(scaling, "acquisitions", lambda algorithm, point: 1)
    with pytest.raises(scaling.Untrue, match="the root's lock was taken"):
        list(scaling.measure([scaling.Point(sharers=1, pages=4, walkers=0)], 1))
