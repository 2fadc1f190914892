"""Shrinking: the same kind of violation, the fewest switches, the smallest parameters, and always the same result."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shrink_tools import assert_smaller, failing

from anonvma_rt import Reproducer, UserError, hunt, shrink
from anonvma_rt.cli import main
from anonvma_rt.execution.schedule import Schedule
from anonvma_rt.lab.load import load
from anonvma_rt.litmus.litmus import Litmus
from anonvma_rt.litmus.program import Program
from anonvma_rt.shrinking.parameters import stretched
from anonvma_rt.shrinking.schedule import Bench
from anonvma_rt.subjects.history import Trace
from anonvma_rt.subjects.protocols import KnownAtOnce


def test_the_race_of_the_mail_with_64_pages_needs_two_pages_and_three_switches(mail, tmp_path):
    result = shrink(mail, tmp_path / "min.json")
    assert_smaller(result)
    assert result.before.parameters == {"pages": 64, "exact": True, "page": 0} and result.before.switches > 3
    assert result.after.parameters == {"pages": 2, "exact": True, "page": 0}
    assert result.after.switches <= 3 and result.fewest
    assert result.after.steps < result.before.steps
    assert "restore walk missed the migration entry" in result.cause
    assert result.executions < 200_000, "a few seconds at most"


def test_the_abstract_race_is_one_page_and_a_walk_that_is_interrupted_once(tmp_path):
    result = shrink(failing(tmp_path, "order", {"pages": 8}, strategy="random"))
    assert_smaller(result)
    assert result.after.parameters == {"pages": 1}
    assert result.after.switches == 2
    assert result.fewest


def test_five_philosophers_become_two_who_wait_for_each_other(tmp_path):
    result = shrink(failing(tmp_path, "philosophers", {"seats": 5}, "right-handed", "random"))
    assert_smaller(result)
    assert (result.kind, result.after.parameters, result.after.switches) == ("deadlock", {"seats": 2}, 1)


KINDS = [
    ("clone-before-place", "interval-tree,place_before_clone=false", "list-corruption", 1),
    ("root-freed-first", "moveto-tail", "use-after-free", 2),
    ("thp-split-vs-move", "unpatched", "bug-on", 2),
    ("fault-during-fork", "modern,vma_locks=racy", "unreachable-pte", 2),
]


@pytest.mark.parametrize(("scenario", "algorithm", "kind", "switches"), KINDS)
def test_every_kind_of_violation_stays_the_one_it_is(scenario, algorithm, kind, switches, tmp_path):
    algorithm = next(name for name in load(scenario).algorithms() if load(scenario).expected(name) == kind)
    result = shrink(failing(tmp_path, scenario, None, algorithm, "random"))
    assert_smaller(result)
    assert (result.kind, result.after.switches, result.fewest) == (kind, switches, True)


LITMUS = [
    ("order", "pages", 1, 3, "unpatched"),
    ("philosophers", "seats", 2, 4, "right-handed"),
    ("lock-order", None, 0, 0, "ab-ba"),
]


@settings(max_examples=15)
@given(
    test=st.sampled_from(LITMUS), size=st.floats(0, 1), seed=st.integers(0, 2**64 - 1),
    strategy=st.sampled_from(["random", "sticky", "pct", "pos", "starve"]), budget=st.sampled_from([1, 30, 1000]),
)  # fmt: skip
def test_a_random_failing_schedule_never_gets_worse(tmp_path_factory, test, size, seed, strategy, budget):
    name, parameter, low, high, variant = test
    values = {parameter: low + round(size * (high - low))} if parameter else {}
    folder = tmp_path_factory.mktemp("random")
    found = hunt(name, values, [variant], strategy=strategy, seed=seed, runs=300, out=folder).results[0].first
    if found is not None:
        result = shrink(found.reproducer, budget=budget)
        assert_smaller(result)
        assert shrink(result.minimal, budget=budget).minimal == result.minimal


def test_it_is_deterministic_and_shrinking_again_changes_not_a_byte(mail, tmp_path):
    one, two, again = tmp_path / "one.json", tmp_path / "two.json", tmp_path / "again.json"
    first, second = shrink(mail, one), shrink(mail, two)
    assert one.read_bytes() == two.read_bytes()
    assert first.executions == second.executions
    assert shrink(one, again).after == first.after
    assert again.read_bytes() == one.read_bytes()


def test_different_failing_executions_of_one_bug_become_the_same(tmp_path):
    shrunk = set()
    for seed in range(4):
        for strategy in ("sticky", "portfolio"):
            minimal = shrink(failing(tmp_path, "border-shift", {"pages": 4}, strategy=strategy, seed=seed)).minimal
            shrunk.add((minimal.digest, minimal.trace))
    assert len(shrunk) == 1


# ---- parameters ------------------------------------------------------------------------------------------------------


def test_parameters_that_need_each_other_come_down_together(tmp_path):
    result = shrink(failing(tmp_path, "lkml-2011", {"pages": 64, "page": 20, "exact": False}))
    assert_smaller(result)
    assert result.after.parameters == {"pages": 2, "exact": True, "page": 0}


def test_what_is_to_be_kept_is_kept(mail):
    result = shrink(mail, keep=["pages"])
    assert_smaller(result)
    assert result.after.parameters["pages"] == 64
    assert result.after.switches <= 3
    with pytest.raises(UserError, match=r'--keep: unknown parameter "page_s" \(did you mean "pages"'):
        shrink(mail, keep=["page_s"])


AT_LEAST = """
litmus = "at-least"
about = "fails only where there are enough pages, and where it is enabled"
parameters.pages = {{ default = 1, min = 1, max = 64, about = "pages" }}
parameters.wrong = {{ default = false, about = "needed" }}
parameters.color = {{ default = false, about = "no matter" }}
expect.sc = "assertion"
[[thread]]
name = "A"
steps = [
    {{ repeat = "pages", as = "i", steps = ["load x r{{i}}"] }},
    {{ when = "pages >= {least} and wrong", steps = ["load x a", "store x 1"] }},
]
[[thread]]
name = "B"
steps = [{{ repeat = "pages", as = "i", steps = ["load x s{{i}}"] }}, "add x 1"]
[[forbidden]]
outcomes = [{{ when = "pages >= {least} and wrong", outcomes = ["a == 0 and x == 1"] }}]
"""


@pytest.mark.parametrize("least", [1, 2, 5, 8, 9, 23, 50])
def test_the_smallest_size_that_fails_is_found_wherever_it_is(least, tmp_path):
    test = Litmus.from_text(AT_LEAST.format(least=least))
    values = {"pages": 50, "wrong": True, "color": True}
    result = shrink(failing(tmp_path, test, values, "sc", "random"), budget=3000)
    assert_smaller(result)
    assert result.after.parameters == {"pages": least, "wrong": True, "color": False}


MORE_SWITCHES = """
litmus = "more-switches"
about = "below four pages, both values must be seen one after the other"
parameters.pages = { default = 8, min = 1, max = 64, about = "pages" }
expect.sc = "assertion"
[[thread]]
name = "A"
steps = ["load x a", "load x b", "load x c", { repeat = 12, as = "i", steps = ["add y 1"] }]
[[thread]]
name = "B"
steps = ["add x 1", "add x 1", { repeat = 12, as = "i", steps = ["add y 1"] }]
[[forbidden]]
outcomes = [
    { when = "pages >= 4", outcomes = ["a == 0 and c == 2"] },
    { when = "pages < 4", outcomes = ["a == 0 and b == 1 and c == 2"] },
]
"""


def test_a_smaller_size_that_needs_more_switches_is_not_taken(tmp_path):
    """Fewest switches first, then the smallest parameters."""
    test = Litmus.from_text(MORE_SWITCHES)
    large = failing(tmp_path, test, {"pages": 8}, "sc", "random")
    for budget in (400, 20_000):  # with the smaller one not all executions of a size are tried, and it is hunted
        result = shrink(large, budget=budget)
        assert_smaller(result)
        assert (result.after.parameters, result.after.switches, result.fewest) == ({"pages": 4}, 2, True)
    small = shrink(failing(tmp_path, test, {"pages": 2}, "sc", "random"))
    assert (small.after.parameters, small.after.switches, small.fewest) == ({"pages": 1}, 4, True)


def test_a_schedule_is_stretched_to_another_size():
    assert list(stretched([(0, 20), (1, 5), (0, 40)], [40, 10], [10, 10])) == [
        [(0, 5), (1, 5), (0, 10)],
        [(0, 20), (1, 5), (0, 40)],
        [(0, 1), (1, 5), (0, 10)],
    ]
    assert all(cuts == [(0, 1)] for cuts in stretched([(0, 1), (2, 5)], [1, 1, 9], [1, 1])), "task 2 is no more"


# ---- only the same kind ----------------------------------------------------------------------------------------------

# The lost update takes two switches; with one, there is a deadlock.
TWO_WRONGS = Litmus.of(
    "two-wrongs",
    {
        "A": ["load x a", "store x 1", "lock p", "lock q", "unlock q", "unlock p"],
        "B": ["add x 1", "lock q", "lock p", "unlock p", "unlock q"],
    },
    forbidden=["a == 0 and x == 1"],
    expect="assertion",
)


def two_wrongs(folder):
    for seed in range(100):
        first = hunt(TWO_WRONGS, algorithms=["sc"], strategy="random", seed=seed, runs=1, out=folder).results[0].first
        if first is not None and first.kind == "assertion":
            return first.reproducer
    raise AssertionError("no lost update in a hundred executions")


def test_a_smaller_execution_with_another_violation_is_not_taken(tmp_path):
    result = shrink(two_wrongs(tmp_path))
    assert_smaller(result)
    assert (result.kind, result.after.switches, result.fewest) == ("assertion", 2, True)


def test_a_mutant_that_takes_any_violation_is_caught_by_the_replay_on_threads(tmp_path, monkeypatch, capsys):
    file = two_wrongs(tmp_path)
    monkeypatch.setattr(Bench, "failures", lambda self, done: [index for index, _ in done.failures])
    result = shrink(file)
    assert result.after.switches == 1, "the deadlock"
    assert result.confirmed == 0
    assert main(["shrink", file]) == 1
    assert "came again 0 of 10 times" in capsys.readouterr().out


@dataclass(frozen=True)
class Spinning(KnownAtOnce):
    """A subject as the lab asks for one: A spins until B stores, and B may wait for ever for what C took."""

    name: str = "spinning"
    text: str = ""
    source: str = "test"
    sha256: str = ""
    needs: str = ""
    parameters: dict = field(default_factory=dict)
    interesting: tuple = ()
    failing: None = None

    @property
    def scenario(self):
        return self

    def bind(self, values):
        return self

    def choose(self, algorithm):
        return algorithm

    def make_subject(self, algorithm):
        stores = [("write_lock", "l"), ("store", "x", 1), ("write_unlock", "l")]
        return Program([[("poll", "x", 1)], stores, [("write_lock", "l"), ("await", "never", 1)]])

    def before(self, explorer):
        return None

    def trace(self, recorded, explorer, before):
        kinds = explorer.subject.kinds()
        finding = recorded.finding
        kind = kinds[finding.kind] if finding else None
        return Trace([], ["A", "B", "C"], finding, kind, recorded.pending)


def livelock(segments):
    """The reproducer of an execution of Spinning that ends at its bound, whatever its digests."""
    return Reproducer(
        scenario=Spinning(), parameters={}, algorithm=next(iter(TWO_WRONGS.variants.values())), strategy="test", seed=0,
        index=0, bound=1000, schedule=Schedule(segments), kind="livelock", cause="", digest="", trace="",
    )  # fmt: skip


def test_a_livelock_does_not_become_the_starvation_of_a_task_that_would_end_it():
    result = shrink(livelock([(0, 4), (1, 1), (0, 7), (2, 2), (0, 987)]))
    assert_smaller(result)
    assert result.minimal.schedule == ((2, 2), (0, 999)), "C has the lock, so B will not get it"
    starved = shrink(livelock([(0, 4), (1, 1), (0, 996)]))
    assert_smaller(starved)
    assert starved.minimal.schedule == ((0, 1001),), "it was one to begin with"
