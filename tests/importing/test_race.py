"""What of a log is setup and what races, addresses that are moved together, and the page that migrates."""

import pytest

from anonvma_rt import Scenario, UserError, hunt, verify
from anonvma_rt.importing.fold import CLOSE, LIMIT, WIDE
from anonvma_rt.importing.importer import ImportOptions, import_scenario

RW, ANON = "PROT_READ|PROT_WRITE", "MAP_PRIVATE|MAP_ANONYMOUS"
MIB = 1 << 20


def scenario(text, **how):
    return Scenario.from_text(import_scenario(text, ImportOptions(**how)).text)


def parts(text, **how):
    """The lines of the setup and of each thread."""
    found, part = {"": []}, ""
    for row in import_scenario(text, ImportOptions(**how)).text.splitlines():
        if row.startswith("name = ") and found[""]:
            part = row.split('"')[1]
            found[part] = []
        elif "# line " in row:
            found[part].append(int(row.split("# line ")[1]))
    return {part: list(dict.fromkeys(lines)) for part, lines in found.items()}


def test_the_race_begins_with_the_second_task(round_trip):
    assert parts(round_trip) == {"": [2, 3], "t42": [6, 10], "main": [7]}
    assert parts(round_trip, race_from=10) == {"": [2, 3, 6, 7], "t42": [10]}
    assert parts(round_trip, tasks=("42",)) == {"": [2, 3], "t42": [6, 10]}
    assert parts(round_trip, threads=2) == {"": [2, 3, 6], "mprotect-7": [7], "mremap-10": [10]}


def test_what_is_wrong_about_the_race_is_one_line(round_trip):
    for how, message in [
        ({"race_from": 99}, "no call from line 99 on can be said"),
        ({"race_from": 0}, "race_from must be at least 1"),
        ({"threads": 0}, "threads must be at least 1"),
        ({"threads": 1, "race_from": 5}, "omit one of them"),
        ({"tasks": ("43",)}, 'no call of task "43" can be said'),
        ({"touch": "some"}, 'unknown choice of touched pages "some"'),
        ({"touch": "no", "migrate": True}, "no page is there when the race begins"),
    ]:
        with pytest.raises(UserError, match=message):
            import_scenario(round_trip, ImportOptions(**how))


def tree(*lines):
    return f"7 mmap(NULL, 16384, {RW}, {ANON}, -1, 0) = 0x40000000\n" + "".join(f"{line}\n" for line in lines)


def test_a_child_that_is_there_early_is_a_thread_and_another_runs_where_it_is_forked():
    early = tree(
        "7 fork() = 8", "8 munmap(0x40000000, 4096) = 0", "7 fork() = 9", "9 munmap(0x40001000, 4096) = 0",
        "7 munmap(0x40002000, 4096) = 0", "8 +++ exited with 0 +++",
    )  # fmt: skip
    assert parts(early) == {"": [1, 2, 4], "t8": [3, 7], "t9": [5], "main": [6]}
    late = tree(
        "7 fork() = 8", "8 munmap(0x40000000, 4096) = 0", "7 munmap(0x40002000, 4096) = 0", "7 fork() = 9",
        "9 munmap(0x40001000, 4096) = 0", "7 munmap(0x40003000, 4096) = 0", "9 +++ exited with 0 +++",
    )  # fmt: skip
    assert parts(late) == {"": [1, 2], "t8": [3], "main": [4, 5, 6, 7, 8]}
    assert "t9 is forked in the race" in import_scenario(late).text
    assert all(hunt(scenario(text), runs=300, algorithms=["modern"]).as_expected for text in (early, late))


def test_of_the_last_calls_a_child_comes_after_its_fork():
    text = tree("7 munmap(0x40003000, 4096) = 0", "7 fork() = 8", "8 munmap(0x40000000, 4096) = 0")
    assert parts(text, threads=3) == {"": [1], "munmap-2": [2], "fork-3": [3, 4]}


def test_a_process_of_several_threads_does_not_end_in_the_race(round_trip):
    text = import_scenario(round_trip).text
    assert 'do = "exit"' not in text and "the end of process main is left out: 2 threads race in it" in text


def test_a_child_may_begin_before_its_fork_is_over():
    text = tree(
        "7 fork( <unfinished ...>", "8 munmap(0x40000000, 4096) = 0", "7 <... fork resumed>) = 8",
        "7 munmap(0x40001000, 4096) = 0",
    )  # fmt: skip
    assert parts(text) == {"": [1, 2], "t8": [3], "main": [5]}


def test_the_order_of_effects_is_that_of_the_kernel():
    # What one task frees another one gets, and its call is over first.
    text = tree(
        "7 clone(child_stack=0x1, flags=CLONE_VM|CLONE_THREAD) = 8", "7 munmap(0x40000000, 16384 <unfinished ...>",
        f"8 mmap(NULL, 4096, {RW}, {ANON}, -1, 0) = 0x40000000", "7 <... munmap resumed>) = 0",
        "8 mprotect(0x40000000, 4096, PROT_READ) = 0",
    )  # fmt: skip
    bound = scenario(text, race_from=6, touch="no").bind({})
    assert [call.verb for call in bound.setup] == ["mmap", "munmap", "mmap"] and bound.threads[0].calls[0].errno == 0


def test_a_log_that_begins_in_the_middle():
    text = "7 mremap(0x40000000, 8192, 8192, MREMAP_MAYMOVE|MREMAP_FIXED, 0x50000000) = 0x50000000\n"
    text += "8 mprotect(0x60000000, 4096, PROT_READ) = 0\n7 munmap(0x50000000, 8192) = 0\n"
    text += "8 munmap(0x60000000, 8192) = 0\n7 munmap(0x50000000, 8192) = 0\n"
    with pytest.raises(UserError, match="nothing of the 5 calls"):
        import_scenario(text)
    imported = import_scenario(text, ImportOptions(attached=True, touch="no"))
    bound = Scenario.from_text(imported.text).bind({})
    # The second half of what task 8 unmaps is found only then; the last call finds nothing, and there was nothing.
    assert [(call.verb, *call.args[:2]) for call in bound.setup] == [
        ("mmap", 0x40000000, 2), ("mmap", 0x60000000, 1), ("mmap", 0x60001000, 1), ("mremap", 0x40000000, 2),
    ]  # fmt: skip
    assert [[call.verb for call in thread.calls] for thread in bound.threads] == [["mprotect", "munmap"], ["munmap"]]
    assert imported.said == 4 and hunt(Scenario.from_text(imported.text), runs=50, algorithms=["modern"]).as_expected


def test_more_processes_than_there_may_be():
    text = tree()
    for pid in range(100, 180):
        text += f"7 fork() = {pid}\n{pid} munmap(0x40000000, 4096) = 0\n{pid} +++ exited with 0 +++\n"
    with pytest.raises(UserError, match="there are 81 processes, at most 64 are right"):
        import_scenario(text)
    imported = import_scenario(text, ImportOptions(race_from=len(text.splitlines()) - 1))
    assert "79 processes that ended before the race are left out" in imported.text
    assert hunt(Scenario.from_text(imported.text), runs=50, algorithms=["modern"]).as_expected


# ---- addresses -------------------------------------------------------------------------------------------------------


def area(at, pages=1):
    return f"mmap(NULL, {pages * 4096}, {RW}, {ANON}, -1, 0) = {at:#x}\n"


def places(text, **how):
    bound = scenario(text, touch="no", **how).bind({})
    calls = [*bound.setup, *(call for thread in bound.threads for call in thread.calls)]
    return [call.args[:2] for call in calls]


def test_addresses_are_kept_where_they_fit():
    ends = [1 << 30, LIMIT - 4096]
    assert places("".join(map(area, ends))) == [(at, 1) for at in ends]


@pytest.mark.parametrize(("fold", "granule"), [(True, CLOSE), (False, WIDE)])
def test_order_adjacency_and_the_place_in_a_granule_stay(fold, granule):
    at = [0x555555554000, 0x7F0000000000, 0x7F0000001000, 0x7F0000001000 + 2 * granule, 0x7F00FFFFF000 + granule]
    found = [one for one, _ in places("".join(map(area, at)), fold=fold)]
    assert found == sorted(found) and found[-1] < 20 * granule
    assert [one % granule for one in found] == [one % granule for one in at]
    assert found[2] - found[1] == 4096 and found[3] - found[2] == 2 * granule


def test_what_an_mremap_moves_is_shortened_alike():
    size = 100 * MIB
    text = area(0x7F0000000000, size // 4096)
    text += f"mremap(0x7f0000000000, {size}, {size}, MREMAP_MAYMOVE|MREMAP_FIXED, 0x7f1000000000) = 0x7f1000000000\n"
    text += f"munmap(0x7f1001000000, 4096) = 0\nmprotect(0x7f1001000000, {MIB}, PROT_READ) = -1 ENOMEM (x)\n"
    bound = scenario(text, fold=True, touch="no").bind({})
    mmap, mremap = bound.setup
    assert mmap.args[1] == mremap.args[1] == mremap.args[2] < 3000
    (munmap,), (mprotect,) = (thread.calls for thread in bound.threads)
    # The hole is as far from the beginning as a page of the source is that was a border only there.
    assert munmap.args[0] == mprotect.args[0] and (munmap.args[0] - mremap.args[3]) % CLOSE == 0


def test_a_fold_changes_no_verdict(round_trip):
    for how in ({}, {"fold": True}):
        made = scenario(round_trip, tasks=("42",), migrate=True, **how)
        result = hunt(made, runs=4000)
        assert [set(one.violations) for one in result.results] == [{"stale-migration-entry"}, set()]


# ---- the page that migrates ------------------------------------------------------------------------------------------


def test_every_page_that_is_there_may_migrate(round_trip):
    made = scenario(round_trip, migrate=True, touch="all", fold=True)
    page = made.parameters["page"]
    assert (page.minimum, page.maximum) == (0, 11)
    migrated = set()
    for number in range(12):
        bound = made.bind({"page": number})
        (call,) = bound.threads[-1].calls
        assert call.verb == "migrate"
        migrated.add(call.args[0])
        assert call.args[0] in range(*_area(bound, call.args[0]))
    assert len(migrated) == 12
    # Where nothing is said, it is one that an mremap of the race moves.
    source = made.bind({}).threads[0].calls[0].args[0]
    assert made.bind({}).threads[-1].calls[0].args[0] == source


def _area(bound, at):
    for call in bound.setup:
        if call.verb == "mmap" and call.args[0] <= at < call.args[0] + call.args[1] * 4096:
            return call.args[0], call.args[0] + call.args[1] * 4096
    raise AssertionError(hex(at))


def test_a_page_that_parent_and_child_share_is_one_page():
    text = tree("7 fork() = 8", "8 munmap(0x40001000, 4096) = 0", "7 munmap(0x40002000, 4096) = 0")
    made = scenario(text, migrate=True, touch="all")
    assert made.parameters["page"].maximum == 3
    result = verify(scenario(tree("7 munmap(0x40001000, 4096) = 0"), migrate=True), algorithms=["modern"])
    assert result.results[0].verdict.startswith("VERIFIED")
