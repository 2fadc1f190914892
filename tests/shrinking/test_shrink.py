"""Shrinking: the same kind of violation, the fewest switches, the smallest parameters, and always the same result."""

import hashlib
import json
import os
import signal
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import tqdm
from hypothesis import given, settings
from hypothesis import strategies as st

from anonvma_rt import Reproducer, ShrinkInterrupted, StopToken, UserError, hunt, replay, shrink
from anonvma_rt.cli import main
from anonvma_rt.execution.schedule import Schedule
from anonvma_rt.lab.load import load
from anonvma_rt.litmus.litmus import Litmus
from anonvma_rt.litmus.program import Program
from anonvma_rt.shrinking.parameters import stretched
from anonvma_rt.shrinking.schedule import Bench
from anonvma_rt.shrinking.shrink import smaller_name
from anonvma_rt.subjects.history import Trace


def failing(folder, scenario, parameters=None, algorithm="unpatched", strategy="sticky", seed=0, runs=3000):
    """The file of the first failing execution of a hunt."""
    result = hunt(scenario, parameters, [algorithm], strategy=strategy, seed=seed, runs=runs, out=folder).results[0]
    return result.first.reproducer


def assert_smaller(result):
    """What is true of every result."""
    before, after = result.before, result.after
    assert after.switches <= before.switches
    for name, value in after.parameters.items():
        assert value == before.parameters[name] or isinstance(value, bool) or value < before.parameters[name]
    if after.parameters == before.parameters:
        assert (after.switches, after.steps) <= (before.switches, before.steps)
    assert result.minimal.kind == result.kind
    assert (result.minimal.steps, result.minimal.switches) == (after.steps, after.switches)
    again = replay(result.minimal, times=100)
    again.explorer.close()
    assert (again.reproduced, again.kind, again.same_trace) == (100, result.kind, True)
    assert result.confirmed == result.replays == 10


@pytest.fixture(scope="module")
def mail(tmp_path_factory):
    """A failing execution of the mail's program with 64 pages."""
    return failing(tmp_path_factory.mktemp("mail"), "lkml-2011", {"pages": 64})


# ---- what it comes to ------------------------------------------------------------------------------------------------


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
class Spinning:
    """A subject as the lab asks for one: A spins until B stores, and B may wait for ever for what C took."""

    name: str = "spinning"
    text: str = ""
    source: str = "test"
    sha256: str = ""
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
        return Program([[("spin", "x", 1)], stores, [("write_lock", "l"), ("await", "never", 1)]])

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


# ---- the file --------------------------------------------------------------------------------------------------------


def test_the_result_says_what_it_was_and_is_a_reproducer_like_any_other(mail, tmp_path, capsys):
    out = tmp_path / "min.json"
    shrink(mail, out)
    was, now = Reproducer.load(mail), Reproducer.load(out)
    assert now.shrunk_from == {
        "steps": was.steps,
        "switches": was.switches,
        "parameters": was.parameters,
        "schedule_digest": was.digest,
    }
    assert was.shrunk_from is None and "shrunk_from" not in json.loads(Path(mail).read_text())
    assert (now.strategy, now.seed, now.index, now.name()) == (was.strategy, was.seed, was.index, was.name())
    assert now.save(tmp_path / "copy.json").read_bytes() == out.read_bytes()
    assert main(["replay", str(out), "--times", "100"]) == 0
    shown = capsys.readouterr().out
    assert f"shrunk from {was.steps} steps and {was.switches} switches" in shown
    assert "reproduced 100 of 100 times" in shown


def test_a_field_that_a_loader_does_not_know_is_no_reason_to_refuse_a_file(mail, tmp_path):
    """That is how one from before there was `shrunk_from` takes the result of shrink."""
    body = json.loads(Path(mail).read_text())
    body.pop("sha256")
    body["from_the_future"] = {"a": 1}
    body["sha256"] = hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    (tmp_path / "new.json").write_text(json.dumps(body))
    assert Reproducer.load(tmp_path / "new.json") == Reproducer.load(mail)


def test_the_command_prints_before_and_after_and_where_the_result_is(mail, capsys):
    assert main(["shrink", mail]) == 0
    out = capsys.readouterr().out
    was = Reproducer.load(mail)
    assert f"  before  {was.switches:9}{was.steps:9}   pages=64 exact=true page=0\n" in out
    assert "  after           3" in out and "pages=2 exact=true page=0\n" in out
    assert "came again 10 of 10 times" in out
    assert out.rstrip().endswith(f"Replay it: anonvma-rt replay {smaller_name(mail)}")
    assert Reproducer.load(smaller_name(mail)).switches == 3
    assert Reproducer.load(mail) == was, "the file that was given is as it was"


def test_json_is_one_object_with_the_fields_of_the_design(mail, tmp_path, capsys):
    out = tmp_path / "min.json"
    assert main(["shrink", mail, "-o", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {
        "scenario", "algorithm", "kind", "before", "after", "executions", "fewest", "replays", "confirmed", "cause",
        "interrupted", "reproducer",
    }  # fmt: skip
    assert set(told["before"]) == set(told["after"]) == {"steps", "switches", "parameters"}
    assert (told["scenario"], told["algorithm"], told["kind"]) == ("lkml-2011", "unpatched", "stale-migration-entry")
    assert told["after"]["parameters"]["pages"] == 2 < told["before"]["parameters"]["pages"]
    assert told["reproducer"] == str(out) and told["fewest"] is True and told["interrupted"] is False
    again = Reproducer.load(out)
    assert (again.steps, again.switches) == (told["after"]["steps"], told["after"]["switches"])


# ---- what can go wrong -----------------------------------------------------------------------------------------------


def test_bad_input_is_one_line_and_exit_code_2(mail, tmp_path, capsys):
    (tmp_path / "no.json").write_text("{}")
    (tmp_path / "link.json").symlink_to(mail)
    for arguments, says in [
        ([str(tmp_path / "none.json")], "cannot be read"),
        ([str(tmp_path / "no.json")], "not a reproducer"),
        ([mail, "-o", mail], "is the reproducer itself"),
        ([mail, "-o", str(tmp_path / "link.json")], "is the reproducer itself"),
        ([mail, "-o", str(tmp_path)], "is a folder"),
        ([mail, "-o", str(tmp_path / "nowhere" / "x.json")], "cannot be written: No such file or directory"),
        ([mail, "-o", "a\0b"], "cannot be written"),
        ([mail, "--budget", "0"], "--budget must be at least 1"),
        ([mail, "--budget", "x"], "--budget must be a whole number"),
        ([mail, "--keep", "size"], 'unknown parameter "size"'),
    ]:
        assert main(["shrink", *arguments]) == 2, arguments
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1 and says in err, (arguments, err)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["link.json", "no.json"], "nothing is left behind"


def test_what_does_not_reproduce_any_more_is_refused(mail, tmp_path):
    one = Reproducer.load(mail)
    patched = replace(one, algorithm=one.program().choose("moveto-tail")).save(tmp_path / "patched.json")
    with pytest.raises(UserError, match=r"patched.json: does not reproduce any more: its schedule"):
        shrink(patched)
    other = replace(one, kind="lost-page").save(tmp_path / "kind.json")
    with pytest.raises(UserError, match=r"ends with stale-migration-entry and not with lost-page"):
        shrink(other)
    cannot = replace(one, schedule=Schedule([(7, 5), (0, 5)])).save(tmp_path / "cannot.json")
    with pytest.raises(UserError, match=r"cannot be followed"):
        shrink(cannot)
    harmless = replace(one, schedule=Schedule()).save(tmp_path / "harmless.json")
    with pytest.raises(UserError, match=r"ends with no violation and not with stale-migration-entry"):
        shrink(harmless)


def test_what_cannot_be_saved_in_the_end_is_still_told(mail, tmp_path, capsys, monkeypatch):
    def full(self, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Reproducer, "save", full)
    assert main(["shrink", mail, "-o", str(tmp_path / "min.json")]) == 1
    out, err = capsys.readouterr()
    assert "pages=2" in out and "Replay it" not in out
    assert "min.json could not be saved: No space left on device" in err


class Impatient:
    """A progress that presses ^C at its n-th call."""

    def __init__(self, n):
        self.left = n

    def __call__(self, executions):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("n", [3, 5, 20, 60, 150])
def test_interrupted_at_any_time_it_keeps_the_best_so_far(mail, tmp_path, n):
    out = tmp_path / "min.json"
    threads = len(os.listdir("/proc/self/task"))
    with pytest.raises(ShrinkInterrupted) as caught:
        shrink(mail, out, progress=Impatient(n))
    result = caught.value.result
    assert result.interrupted and result.reproducer == str(out)
    assert_smaller(result)
    assert Reproducer.load(out) == result.minimal
    assert len(os.listdir("/proc/self/task")) == threads, "no thread is left"


def test_interrupted_before_it_was_seen_to_fail_there_is_nothing_to_keep(mail, tmp_path):
    with pytest.raises(KeyboardInterrupt) as caught:
        shrink(mail, tmp_path / "min.json", progress=Impatient(1))
    assert caught.type is KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_interrupting_the_command_prints_saves_and_exits_with_130(mail, tmp_path, capsys, monkeypatch):
    class Bar(tqdm.tqdm):
        calls = 0

        def update(self, n=1):
            Bar.calls += 1
            if Bar.calls > 5:
                raise KeyboardInterrupt

    monkeypatch.setattr(tqdm, "tqdm", Bar)
    out = tmp_path / "min.json"
    assert main(["shrink", mail, "-o", str(out)]) == 130
    assert "INTERRUPTED" in capsys.readouterr().out
    assert Reproducer.load(out).kind == "stale-migration-entry"


def test_what_was_found_is_saved_before_the_end(mail, tmp_path):
    """Whoever is killed leaves the best so far, whole."""
    out, seen = tmp_path / "min.json", {}

    def look(executions):
        if out.exists() and out.stat().st_mtime_ns not in seen:
            seen[out.stat().st_mtime_ns] = Reproducer.load(out)

    result = shrink(mail, out, progress=look)
    sizes = [(one.parameters["pages"], one.switches) for one in seen.values()]
    assert sizes[0] == (64, 3) and sizes[-1] == (2, result.after.switches)
    assert [entry.name for entry in tmp_path.iterdir()] == ["min.json"]


def test_a_stop_token_ends_it_with_what_there_is(mail):
    stop = StopToken()
    calls = []

    def progress(executions):
        calls.append(executions)
        if len(calls) == 30:
            stop.stop()

    result = shrink(mail, stop=stop, progress=progress)
    assert result.interrupted
    assert len(calls) <= 31
    assert_smaller(result)


def test_cuts_count_from_the_beginning_of_each_task():
    assert Schedule([(0, 5), (1, 3), (0, 2), (1, 1)]).cuts() == [(0, 5), (1, 3), (0, 7), (1, 4)]
    assert Schedule().cuts() == []
