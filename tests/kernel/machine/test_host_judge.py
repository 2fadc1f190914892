"""The host's kernel as a judge: the same calls on a Machine and for real, with the same vmas, errnos and contents.

`linux-host` has the rules of 6.17 and has to agree without exceptions. The rules of 3.x have to agree but for the
changes that host_known.py lists one by one.
"""

from collections import Counter
from errno import EBUSY, EEXIST, EFAULT, EINVAL, ENOENT

import pytest
from host_calls import FIRST, PAGE, Host, release
from host_known import CHANGES, at
from host_sequences import MOST, Sequence, follow, make, sequence, vmas

from anonvma_rt.kernel.algorithm import PRESETS
from anonvma_rt.kernel.machine import Machine

RULES_OF_TODAY = (6, 18, 8)  # 6.17 has the calls, and 6.18.8 the repairs of the merges
SEQUENCES, BATCH = 500, 250
OTHERS = 1000  # the first seed of those that not every run makes

OLD = [name for name, preset in PRESETS.items() if preset.calls == "3.2" and preset.merge == "3.0"]
MANY = [pytest.param(range(first, first + BATCH), id=f"{first}-") for first in range(0, SEQUENCES, BATCH)]


@pytest.fixture(scope="module")
def host():
    judge = Host()
    if judge.reason:
        judge.close()
        pytest.skip(judge.reason)
    yield judge
    judge.close()


@pytest.fixture
def todays(host):
    if release() < RULES_OF_TODAY:
        pytest.skip(f"the host is Linux {'.'.join(map(str, release()))}, and the rules are those of 6.18.8")
    return host


def in_pages(maps):
    return [((start - FIRST) // PAGE, (end - FIRST) // PAGE, writable) for start, end, writable in maps]


def told(call):
    return [f"page {(word - FIRST) / PAGE:g}" if isinstance(word, int) and word >= 1 << 30 else word for word in call]


def first_difference(wanted, steps, contents):
    """The first call on whose outcome Machine and host do not agree, in words; None where they agree."""
    for i, (machines, hosts) in enumerate(zip(wanted.steps, steps, strict=True)):
        if machines != hosts:
            before = in_pages(wanted.steps[i - 1][1]) if i else []
            return (
                f"call {i} {told(wanted.calls[i])}\n before  {before}\n machine {machines[0]} {in_pages(machines[1])}\n"
                f" host    {hosts[0]} {in_pages(hosts[1])}\n calls   {wanted.calls[: i + 1]}"
            )
    found = {int(address): tag for address, tag in contents.items()}
    differing = {a: (tag, found.get(a)) for a, tag in wanted.contents.items() if found.get(a) != tag}
    return f"contents (machine, host): {differing}\n calls {wanted.calls}" if differing else None


def agree(host, sequences):
    runs = host.run([wanted.calls for wanted in sequences])
    for wanted, (steps, contents) in zip(sequences, runs, strict=True):
        if steps[-1] is None:
            done = len(steps) - 1
            wanted, steps, contents = Sequence(wanted.calls[:done], wanted.steps[:done], {}), steps[:done], {}
        difference = first_difference(wanted, steps, contents)
        assert difference is None, difference


def applying(changes=CHANGES):
    """The predicates of the changes that this host has."""
    return [change.recognises for change in changes if release() >= change.since]


# ---- without exceptions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seeds", MANY)
def test_todays_rules_agree_with_the_host(seeds, todays):
    machine = Machine("linux-host")
    agree(todays, [sequence(machine, seed) for seed in seeds])


@pytest.mark.parametrize("seeds", MANY[:1])
def test_todays_rules_agree_after_a_fork(seeds, todays):
    machine = Machine("linux-host")
    agree(todays, [sequence(machine, seed, forks=True) for seed in seeds])
    assert machine.check() == []


@pytest.fixture
def moving(todays):
    if not todays.moves:
        pytest.skip("the host has no move_pages or no UFFDIO_MOVE for this process")
    return todays


@pytest.mark.parametrize("forks", [False, True])
def test_todays_rules_agree_about_pages(forks, moving):
    """move_pages and UFFDIO_MOVE, the zero page, pages that a fork shares."""
    machine = Machine("linux-host")
    made = [sequence(machine, seed, forks=forks, pages=True) for seed in range(BATCH)]
    agree(moving, made)
    told = Counter(
        result if call[0] == "uffd_move" else (call[0], *sorted(set(result)))
        for one in made
        for call, (result, _) in zip(one.calls, one.steps, strict=True)
        if call[0] in ("uffd_move", "move_pages") and result != []
    )
    assert {0, -ENOENT, -EINVAL, -EEXIST} < told.keys() and (-EBUSY in told) == forks
    assert ("move_pages", -EFAULT, 0) in told and ("move_pages", -ENOENT, 0) in told


@pytest.mark.long
@pytest.mark.parametrize("forks", [False, True])
def test_todays_rules_agree_about_pages_in_many_sequences(forks, moving):
    for first in range(OTHERS, 6 * OTHERS, BATCH):
        machine = Machine("linux-host")
        agree(moving, [sequence(machine, seed, forks=forks, pages=True) for seed in range(first, first + BATCH)])


@pytest.mark.long
@pytest.mark.parametrize("forks", [False, True])
def test_todays_rules_agree_with_the_host_in_many_sequences(forks, todays):
    for first in range(OTHERS, 11 * OTHERS, BATCH):
        machine = Machine("linux-host")
        agree(todays, [sequence(machine, seed, forks=forks) for seed in range(first, first + BATCH)])


# ---- with the known changes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seeds", MANY)
def test_the_rules_of_3_x_agree_but_for_the_known_changes(seeds, host):
    machine = Machine("moveto-tail")
    agree(host, [sequence(machine, seed, applying()) for seed in seeds])


@pytest.mark.parametrize("algorithm", OLD)
def test_every_algorithm_of_the_old_rules_agrees_but_for_the_known_changes(algorithm, host):
    machine = Machine(algorithm)
    agree(host, [sequence(machine, seed, applying()) for seed in range(OTHERS, OTHERS + 20)])


@pytest.mark.long
@pytest.mark.parametrize("forks", [False, True])
def test_the_rules_of_3_x_agree_in_many_sequences(forks, host):
    for first in range(OTHERS, 6 * OTHERS, BATCH):
        machine = Machine("moveto-tail")
        agree(host, [sequence(machine, seed, applying(), forks) for seed in range(first, first + BATCH)])


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_a_known_change_shows_on_the_host_and_not_in_3_x(change, host):
    if release() < change.since:
        pytest.skip(f"the host is Linux {'.'.join(map(str, release()))}, older than {change.commit}")
    machine = follow(Machine("moveto-tail"), change.calls)
    ((steps, _),) = host.run([change.calls])
    assert (machine.steps[-1][0], in_pages(machine.steps[-1][1])) == change.old
    assert (steps[-1][0], in_pages(steps[-1][1])) == change.new
    assert machine.steps[:-1] == steps[:-1], "only the last call is the one that changed"


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_a_known_change_is_recognised_before_the_call_and_only_there(change):
    process = Machine("moveto-tail").process()
    recognised = []
    for call in change.calls:
        recognised.append(change.recognises(process.maps(), call))
        make(process, call)
    assert recognised == [False] * (len(change.calls) - 1) + [True]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_todays_rules_have_every_known_change(change):
    last = follow(Machine("linux-6.19"), change.calls).steps[-1]
    assert (last[0], in_pages(last[1])) == change.new


# ---- the judge itself ------------------------------------------------------------------------------------------------


def test_the_sequences_are_long_and_most_of_their_calls_are_not_refused():
    machine = Machine("moveto-tail")
    made = [sequence(machine, seed, [change.recognises for change in CHANGES]) for seed in range(100)]
    verbs = Counter(call[0] for wanted in made for call in wanted.calls)
    done = Counter(c[0] for wanted in made for c, step in zip(wanted.calls, wanted.steps, strict=True) if step[0] >= 0)
    assert all(len(wanted.calls) == MOST for wanted in made)
    assert all(done[verb] > verbs[verb] / 5 for verb in verbs), (verbs, done)
    assert max(len(maps) for wanted in made for _, maps in wanted.steps) >= 8


def test_the_judge_notices_a_wrong_vma_a_wrong_errno_and_a_wrong_content(host):
    calls = [["mmap", at(0), 2, True], ["write", at(0), 1, 7], ["munmap", at(0), 0]]
    wanted = follow(Machine("moveto-tail"), calls)
    ((steps, contents),) = host.run([calls])
    assert first_difference(wanted, steps, contents) is None
    assert "call 0" in first_difference(wanted._replace(steps=[[at(0), []], *wanted.steps[1:]]), steps, contents)
    succeeds = wanted._replace(steps=[*wanted.steps[:2], [0, wanted.steps[2][1]]])
    assert "call 2" in first_difference(succeeds, steps, contents)
    assert "contents" in first_difference(wanted._replace(contents={at(0): 8}), steps, contents)


def test_the_window_is_empty_again_for_every_sequence(host):
    for steps, contents in host.run([[["mmap", at(0), 4, True]], [["munmap", at(9), 1]], [["fork", 0, 0]]]):
        assert len(steps) == 1 and (contents == {} or set(contents.values()) == {0})
    ((steps, contents),) = host.run([[["munmap", at(0), 1]]])
    assert steps == [[0, []]] and contents == {}


def test_a_machines_window_is_that_of_the_host():
    process = Machine("moveto-tail").process()
    assert process.mmap(1, at=at(0)) == FIRST and vmas(process) == [[FIRST, FIRST + PAGE, True]]
