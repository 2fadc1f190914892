"""The host's kernel as a judge of huge pages: which pages are parts of one, which are shared after a fork, how many are
mapped by a pmd, beside vmas, results and contents. With huge pages switched off the same calls get small ones.

A sequence on which both do not agree is made again: the host may have found no memory for a huge page, and its own
khugepaged may have made one.
"""

import host_huge
import pytest
from host_calls import Host, release
from host_huge import BASE, FIRST, HUGE, PAGE, VERBS, WITH_MOVES, letters, sequence
from host_sequences import make

from anonvma_rt.kernel.machine import Machine

RULES_OF_TODAY = (6, 18, 8)
FEW, BATCH, MANY = 60, 100, 5000
TRIES = 4


def opened(*arguments):
    judge = Host(host_huge.__file__, *arguments)
    if judge.reason:
        judge.close()
        pytest.skip(judge.reason)
    if release() < RULES_OF_TODAY:
        judge.close()
        pytest.skip(f"the host is Linux {'.'.join(map(str, release()))}, and the rules are those of 6.18.8")
    return judge


@pytest.fixture(scope="module")
def host():
    judge = opened()
    yield judge
    judge.close()


@pytest.fixture(scope="module")
def without():
    judge = opened("off")
    yield judge
    judge.close()


def runs(text):
    """ "..cc" as "2. 2c"."""
    found, last = [], 0
    for i in range(1, len(text) + 1):
        if i == len(text) or text[i] != text[last]:
            found.append(f"{i - last}{text[last]}")
            last = i
    return " ".join(found)


def in_pages(word):
    return f"{(word - FIRST) // PAGE:+}" if isinstance(word, int) and word >= BASE else word


def told(calls):
    return [[in_pages(word) for word in call] for call in calls]


def difference(wanted, answer):
    """What Machine and host do not agree on, in words; None where they do."""
    calls, steps, contents, *seen = wanted
    hosts, held, *looked = answer
    for i, (machines, real) in enumerate(zip(steps, hosts, strict=True)):
        if machines != real:
            return f"call {i}: machine {told([machines])} host {told([real])}\n calls {told(calls[: i + 1])}"
    if seen != looked:
        return f"machine {runs(seen[0])}, {seen[1]}\nhost    {runs(looked[0])}, {looked[1]}\n calls {told(calls)}"
    found = {int(address): tag for address, tag in held.items()}
    wrong = {in_pages(at): (tag, found.get(at)) for at, tag in contents.items() if found.get(at) != tag}
    return f"contents (machine, host): {wrong}\n calls {told(calls)}" if wrong else None


def verbs_for(judge):
    """With UFFDIO_MOVE where the host lets us."""
    return WITH_MOVES if judge.moves else VERBS


def agree(judge, made):
    for wanted in made:
        for _ in range(TRIES):
            (answer,) = judge.run([wanted[0]])
            said = difference(wanted, answer)
            if said is None:
                break
        assert said is None, said


def followed(calls):
    """What a Machine makes of the calls: the letters of the last process, and the huge pages that pmds map."""
    machine = Machine("linux-host")
    family = [machine.process()]
    for call in calls:
        if call[0] == "fork":
            family.append(family[-1].fork())
        else:
            assert make(family[-1], call, huge=True) >= 0
    assert machine.check() == []
    found, pmds = letters(machine, family[-1], family[-2] if len(family) > 1 else None)
    return runs(found[HUGE : 6 * HUGE]), pmds


def at(page):
    return FIRST + page * PAGE


MAPPED = [["mmap", at(0), 2 * HUGE, True], ["write", at(0), 1, 7]]
ROWS = {
    "a write gets a huge page": ([], "512c 2048.", 1),
    "a child that writes one page copies that one (H6)": ([["fork", 0, 0], ["write", at(0), 1, 8]], "1s 511C 2048.", 0),
    "a part that moves stays a part (H7)": (
        [["mremap", at(5), 100, 100, at(2 * HUGE), True, False]], "5c 100. 407c 512. 100c 1436.", 0,
    ),
    "a huge page moves as a whole": (
        [["mremap", at(0), HUGE, HUGE, at(2 * HUGE), True, False]], "1024. 512c 1024.", 1,
    ),
    "a part that becomes read-only splits the pmd": ([["mprotect", at(0), 100, False]], "512c 2048.", 0),
    "a part that goes leaves the rest": ([["munmap", at(0), 100]], "100. 412c 2048.", 0),
    "a read gets the huge zero page": ([["dontneed", at(0), HUGE], ["read", at(0), 1]], "512z 2048.", 0),
    "a write there gets a huge page": (
        [["dontneed", at(0), HUGE], ["read", at(0), 1], ["write", at(9), 1, 8]], "512c 2048.", 1,
    ),
    "a part of it that becomes read-only splits it": (
        [["dontneed", at(0), HUGE], ["read", at(0), 1], ["mprotect", at(0), 100, False], ["write", at(200), 1, 8]],
        "200z 1s 311z 2048.", 0,
    ),
    "a child has the huge zero page, too, and neither shares it": (
        [["dontneed", at(0), HUGE], ["read", at(0), 1], ["fork", 0, 0]], "512z 2048.", 0,
    ),
    "what comes back there is small": ([["dontneed", at(0), 100], ["write", at(0), 1, 8]], "1s 99. 412c 2048.", 0),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split(" (")[0])
def test_a_row_of_the_host(row, host):
    more, wanted, pmds = ROWS[row]
    for _ in range(TRIES):
        ((_, _, found, count),) = host.run([MAPPED + more])
        if (runs(found[HUGE : 6 * HUGE]), count) == (wanted, pmds):
            break
    assert (runs(found[HUGE : 6 * HUGE]), count) == (wanted, pmds)
    assert followed(MAPPED + more) == (wanted, pmds)


@pytest.mark.parametrize("forks", [False, True])
def test_todays_rules_agree_about_huge_pages(forks, host):
    machine = Machine("linux-host")
    agree(host, [sequence(machine, seed, forks) for seed in range(FEW)])
    agree(host, [sequence(machine, seed, forks, verbs=verbs_for(host)) for seed in range(FEW)])
    assert machine.check() == []


@pytest.mark.parametrize("forks", [False, True])
def test_todays_rules_agree_where_huge_pages_are_switched_off(forks, without):
    machine = Machine("linux-host")
    agree(without, [sequence(machine, seed, forks, huge=False) for seed in range(FEW)])


@pytest.mark.long
@pytest.mark.parametrize("forks", [False, True])
def test_they_agree_in_many_sequences(forks, host):
    for first in range(FEW, FEW + MANY // 2, BATCH):
        machine = Machine("linux-host")
        verbs = (VERBS, verbs_for(host))[first // BATCH % 2]
        agree(host, [sequence(machine, seed, forks, verbs=verbs) for seed in range(first, first + BATCH)])


@pytest.mark.long
@pytest.mark.parametrize("forks", [False, True])
def test_they_agree_in_many_sequences_without(forks, without):
    for first in range(FEW, FEW + MANY // 2, BATCH):
        machine = Machine("linux-host")
        agree(without, [sequence(machine, seed, forks, huge=False) for seed in range(first, first + BATCH)])


def test_the_sequences_show_all_that_there_is(host):
    machine = Machine("linux-host")
    made = [sequence(machine, seed, forks=True) for seed in range(FEW)]
    assert set("".join(one[3] for one in made)) >= set(".zscSC")
    assert {one[4] for one in made} >= {0, 1, 2}


def test_the_judge_notices_a_wrong_letter_and_a_wrong_pmd(host):
    calls, _, contents, *_ = sequence(Machine("linux-host"), 1)
    ((hosts, held, found, count),) = host.run([calls])
    wrong = ("s" if found[HUGE] != "s" else "c") + found[HUGE + 1 :]
    assert difference((calls, hosts, contents, found[:HUGE] + wrong, count), (hosts, held, found, count))
    assert difference((calls, hosts, contents, found, count + 1), (hosts, held, found, count))
