"""A hunt keeps the first reproducer of every kind of violation, and may end at the first one of all."""

import json

import pytest

from anonvma_rt import Reproducer, UserError, hunt, replay
from anonvma_rt.cli import main
from anonvma_rt.litmus import Litmus

# Three kinds: the outcome, a deadlock, and a lock that is given back by somebody else.
THREE = """
litmus = "three-kinds"
about = "most executions end in one of three ways"
forbidden = "x == 3"
[[thread]]
name = "A"
steps = ["lock a", "lock b", "add x 1", "unlock b", "unlock a", "load y r", "add x 1"]
[[thread]]
name = "B"
steps = ["lock b", "lock a", "add x 1", "unlock a", "unlock b", "store y 1"]
[[thread]]
name = "C"
steps = ["trylock c first", "unlock c"]
[[thread]]
name = "D"
steps = ["trylock c second", "unlock c"]
"""
KINDS = {"assertion", "deadlock", "bad-unlock"}


@pytest.fixture(scope="module")
def test():
    return Litmus.from_text(THREE)


def found(one):
    return [(each.index, each.kind) for each in one.kept]


def firsts(one, count):
    """What must be kept, from another hunt that keeps nearly everything."""
    kept, seen = [], dict.fromkeys(KINDS, 0)
    for index, kind in one:
        seen[kind] += 1
        if seen[kind] <= count:
            kept.append((index, kind))
    return kept


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_the_first_of_every_kind_is_kept_and_more_if_asked_for(test, tmp_path, jobs):
    every = found(hunt(test, runs=400, keep=1000).results[0])
    assert {kind for _, kind in every} == KINDS and len(every) > 100
    for keep in (0, 4):
        (one,) = hunt(test, runs=400, keep=keep, jobs=jobs, out=tmp_path / f"{keep}").results
        assert found(one) == firsts(every, 1 + keep) and one.first is one.kept[0]
        assert len(list((tmp_path / f"{keep}").iterdir())) == len(one.kept) == 3 * (1 + keep)
        assert [each.index for each in one.reproducers] == [each.index for each in one.kept]
        for each in one.kept:
            kept = Reproducer.load(each.reproducer)
            replayed = replay(kept)
            replayed.explorer.close()
            assert (replayed.kind, replayed.reproduced, kept.index) == (each.kind, 1, each.index)


FIELDS = [
    "executions", "violations", "benign_misses", "points", "switches", "schedules_sha256", "indices", "classes",
    "upper_bound_95", "pct_guarantee", "failed_allocations",
]  # fmt: skip


@pytest.mark.parametrize("jobs", [1, 2, 4])
@pytest.mark.parametrize("strategy", ["surw", "pct", "portfolio"])
def test_until_violation_is_the_hunt_that_ends_there(jobs, strategy):
    how = {"algorithms": ["unpatched", "moveto-tail"], "strategy": strategy, "seed": 5}
    result = hunt("merge", runs=3000, until_violation=True, jobs=jobs, **how)
    unpatched, patched = result.results
    assert unpatched.first.index == unpatched.indices[0] == unpatched.executions - 1 > 0
    assert patched.executions == 3000 and patched.first is None and result.until_violation
    same = hunt("merge", runs=unpatched.executions, **how).results[0]
    assert [getattr(unpatched, name) for name in FIELDS] == [getattr(same, name) for name in FIELDS]
    assert found(unpatched) == found(same) and result.as_expected


def test_until_violation_on_two_carriers_and_with_classes_of_a_part(tmp_path):
    how = {"algorithms": ["unpatched"], "strategy": "surw", "seed": 5, "classes": 1}
    (one,) = hunt("merge", runs=3000, until_violation=True, carrier="auto", jobs=2, out=tmp_path, **how).results
    assert (one.confirmed.tried, one.confirmed.confirmed, one.classes.observed) == (1, 1, 1)
    assert len(list(tmp_path.iterdir())) == 1


def test_the_command_line_says_what_it_kept_besides(test, tmp_path, capsys):
    file = tmp_path / "three.toml"
    file.write_text(THREE)
    assert main(["hunt", str(file), "--runs", "400", "--out", str(tmp_path / "out"), "--keep", "2"]) == 1
    said = capsys.readouterr().out.partition("Also kept:")[2]
    assert {line.split(",")[0].split(": ")[1] for line in said.splitlines() if line} == KINDS
    assert said.count("(and 1 more)") == 1 and said.count("(and 2 more)") == 2 and said.count(".json") == 3
    assert main(["hunt", str(file), "--runs", "400", "--out", str(tmp_path), "--until-violation", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["until_violation"] and [each["index"] for each in told["results"][0]["kept"]] == [
        told["results"][0]["first"]["index"]
    ]
    assert main(["hunt", "merge", "--keep", "-1"]) == 2
    assert capsys.readouterr().err == "anonvma-rt: --keep must be from 0 to 10000, not -1\n"
    with pytest.raises(UserError, match="--keep must be from 0"):
        hunt("merge", keep=1 << 20)
