"""Where nobody says what is interesting: the places that a profile sees, and SURW, which draws one every time."""

from statistics import median

import pytest

from anonvma_rt.engine.run.records import Place
from anonvma_rt.engine.strategy.portfolio import Portfolio
from anonvma_rt.engine.strategy.surw import Surw
from anonvma_rt.errors import UserError
from anonvma_rt.lab.explorers import make_explorer, names_of_places, profile
from anonvma_rt.litmus.litmus import Litmus
from anonvma_rt.search.hunt import hunt


def away(n):
    """n steps that concern nobody else."""
    return ["load own o"] * n


# What several tasks share, each in another way.
KINDS = Litmus.of(
    "kinds",
    {
        "A": ["lock m", "store guarded 1", "unlock m", "store free 1", "store flag 1", "load read p", *away(3)],
        "B": ["lock m", "store guarded 2", "unlock m", "load free f", "load free g", "await flag 1", "load read q"],
    },
)
# A read has to fall between two writes that stand beside each other, far from where it begins.
BETWEEN = Litmus.of("between", {"A": [*away(100), "store x 1", "store x 2"], "B": ["load x r"]}, forbidden=["r == 1"])
# One order in two is forbidden, however long one of the two goes on by itself.
LATE = Litmus.of("late", {"A": [*away(200), "store x 1"], "B": ["load x r"]}, forbidden=["r == 1"])


def seen(litmus, interesting=()):
    """The profile of a test, and each of its places by name."""
    program = litmus.bind({})
    program = program.with_interesting(interesting) if interesting else program
    with make_explorer(program, program.choose("sc"), Surw(), carrier="fibers") as explorer:
        found = profile(program, explorer)
        name = names_of_places(program, explorer)
        return found, {name(place.offset): (place, place.under and name(place.under)) for place in found.places}


def test_a_place_is_what_several_tasks_touch_and_one_writes():
    _, places = seen(KINDS)
    # A flag that is awaited has one order only; what is read alone has none, and what one task has for itself neither.
    assert set(places) == {"m", "guarded", "free"}
    assert places["free"][0].visits == (1, 2) and places["free"][1] is None
    assert places["m"][0].acquired and places["m"][1] is None
    assert places["guarded"][1] == "m" and not places["guarded"][0].acquired


def first(litmus, strategy, seed, runs=4000, **options):
    return hunt(litmus, strategy=strategy, carrier="fibers", seed=seed, runs=runs, classes=0, **options).results[0]


@pytest.mark.parametrize("strategy", ["surw", "portfolio"])
def test_what_a_name_was_needed_for_is_found_without_one(strategy):
    counts = [first(BETWEEN, strategy, seed, until_violation=True).executions for seed in range(20)]
    blind = [first(BETWEEN, "urw", seed, until_violation=True).executions for seed in range(20)]
    assert median(counts) <= 6 and median(blind) >= 20


def test_each_order_of_the_visits_is_as_likely_however_far_apart_they_are():
    assert 900 < first(LATE, "surw", 0, 2000).violations["assertion"] < 1100
    assert "assertion" not in first(LATE, "random", 0, 2000).violations


@pytest.mark.parametrize("litmus", [KINDS, BETWEEN, LATE])
@pytest.mark.parametrize("strategy", ["surw", "portfolio"])
def test_carriers_jobs_and_pieces_make_the_same_executions(litmus, strategy):
    def digest(carrier, jobs=1):
        return hunt(litmus, strategy=strategy, carrier=carrier, runs=300, jobs=jobs).results[0].schedules_sha256

    assert digest("threads") == digest("fibers") == digest("fibers", 2)


def test_what_was_drawn_is_told_and_found_again_by_that():
    found = first(LATE, "portfolio", 0)
    assert found.first.drawn == "x" and found.first.place > 0
    again = first(LATE, f"surw:place={found.first.place}", 1, 1000)
    assert {one.drawn for one in again.kept} == {"x"}
    assert first(LATE, "urw", 0, 50_000).first is None or first(LATE, "urw", 0, 50_000).first.drawn is None
    with pytest.raises(UserError, match="strategy surw: nothing that several tasks touch is at 7"):
        first(LATE, "surw:place=7", 0)
    with pytest.raises(ValueError, match="strategy surw: place must be from 0 to"):
        Surw(-1)


def test_a_drawn_place_gives_way_to_what_is_marked_unless_it_was_asked_for():
    marked = Litmus.of("marked", {"A": ["!store x 1", "store y 1"], "B": ["!load x r", "load y s"]})
    assert all(one.drawn is None for one in first(marked, "surw", 0, 100).kept)
    found, places = seen(marked)
    strategy = Surw(places["y"][0].offset)
    strategy.profiled(found.steps, found.task_steps, found.task_marks)
    strategy.surveyed(found.places)
    assert strategy.wanted == places["y"][0].offset and strategy.clone().wanted == strategy.wanted


def test_an_access_that_a_lock_guards_is_no_place_to_draw_and_naming_it_warns():
    found, _ = seen(KINDS, ["guarded"])
    assert found.warnings == [
        "--interesting: guarded is touched under m alone, which decides the order: take the lock instead"
    ]
    assert seen(KINDS, ["m"])[0].warnings == seen(KINDS, ["free"])[0].warnings == []
    assert first(KINDS, "surw", 0, 50, interesting=["guarded"]).warnings == found.warnings


def test_the_portfolio_gives_surw_its_turns_where_there_is_a_place():
    def turns(under):
        portfolio = Portfolio()
        portfolio.profiled(10, [5, 5], [0, 0])
        portfolio.surveyed([Place(64, False, False, (1, 1), under)])
        program = LATE.bind({})
        with make_explorer(program, program.choose("sc"), portfolio, carrier="fibers") as explorer:
            offsets = []
            for index in range(8):
                explorer.run(index, 1)
                offsets.append(portfolio.drawn)
            return offsets

    assert turns(None) == [64] * 7 + [None]
    assert turns(128) == [None] * 8
