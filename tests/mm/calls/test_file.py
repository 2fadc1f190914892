"""Private mappings of a file: whose pages a reader and a writer get, and when khugepaged may free the page table."""

import pytest
from calls import TABLE, at, collapse, dontneed, fork, mmap, mmap_file, mremap, munmap, read, touch
from kernels import ALL, built, clean, run, sweep_both
from looks import contents, vmas

from anonvma_rt import Scenario, verify

EVERY = pytest.mark.parametrize("algorithm", ALL)
READ = [mmap_file(0, TABLE), read(0, 1)]


@EVERY
def test_a_reader_has_the_files_page_and_a_writer_a_copy(algorithm):
    world = built(mmap_file(0, 4), read(0, 2), touch(1, 1, 7), read(0, 3), algorithm=algorithm)
    frames = [world.pte(at(page))[1] for page in range(3)]
    assert [world.page(frame)["anon_vma"] for frame in frames][::2] == [None, None]
    assert world.page(frames[1])["anon_vma"] is not None
    assert contents(world, 0, 3) == [0, 7, 0]


@EVERY
def test_the_page_of_the_cache_is_the_same_for_all_and_outlives_its_entries(algorithm):
    steps = [mmap_file(0, 2), read(0, 1), dontneed(0, 2), read(0, 1)]
    world = built(*steps, algorithm=algorithm)
    assert world.page(world.pte(at(0))[1])["refcount"] == 2
    assert world.page_frames == 2, "the zero page, and that one"


def test_a_child_finds_the_files_pages_by_faults():
    world = built(*READ, fork(1), read(0, 1, process=1), touch(1, 1, 7, process=1), processes=2)
    assert world.pte(at(0))[1] == world.pte(at(0), 1)[1]
    assert contents(world, 0, 2, process=1) == [0, 7]


def test_a_mapping_that_moves_keeps_its_place_in_the_file_and_never_joins_anonymous_memory():
    world = built(mmap_file(0, 1), mmap(1, 1), mremap(0, 1, 8), mmap(9, 1))
    assert [(vma.start, vma.pgoff) for vma in vmas(world)] == [(1, 1), (8, 0), (9, 9)]


@EVERY
def test_a_table_of_nothing_but_the_files_pages_goes_and_one_with_a_copy_stays(algorithm):
    world = built(*READ, collapse(0), algorithm=algorithm)
    assert not world.tables() and contents(world, 0, 1) == [None]
    world = built(*READ, touch(1, 1, 7), collapse(0), algorithm=algorithm)
    assert world.tables() and contents(world, 0, 2) == [None, 7]


BESIDE = {
    "read": read(0, 2),
    "touch": touch(0, 1, 9),
    "fork": fork(1),
    "munmap": munmap(0, TABLE),
    "again": collapse(0),
}
RIGHT = (0, 11, 22)


@EVERY
@pytest.mark.parametrize("beside", BESIDE.values(), ids=BESIDE)
def test_nothing_is_lost_beside_another_call(algorithm, beside):
    for run_ in sweep_both(READ, [collapse(0, errno=RIGHT)], [beside._replace(errno=RIGHT)], algorithm=algorithm,
                           processes=2):  # fmt: skip
        clean(run_)


def test_nothing_of_it_leaks():
    clean(run([*READ, touch(1, 1, 7)], [munmap(0, TABLE)]))


# 023f47a8250c. A page was copied in a mapping that has moved away since; the file is mapped anew where that was, and a
# write into its second table lets it share the anon_vma of the mapping above. From then on whoever walks for that page
# looks into the first table, too. Two switches in the right places: too rare for a hunt.
SHARING = """
name = "retract"
about = "khugepaged frees the page table of a mapping of a file; a write gives it an anon_vma, and a walk comes in"
names.a = "1*GiB"
names.away = "2*GiB"

setup = [
    { do = "mmap_file", at = "a", pages = 1536 },
    { do = "touch", at = "a + 5*PAGE", pages = 1, tag = 7 },
    { do = "mremap", from = "a", pages = 1024, to = "away" },
    { do = "mprotect", at = "a + 1024*PAGE", pages = 512, writable = false },
    { do = "mmap_file", at = "a", pages = 1024 },
    { do = "read", at = "a", pages = 1 },
]

[[thread]]
name = "khugepaged"
steps = [{ do = "collapse", at = "a", errno = ["", "EAGAIN"] }]

[[thread]]
name = "write"
steps = [
    { do = "touch", at = "a + 512*PAGE", pages = 1, tag = 9 },
    { do = "migrate", at = "away + 5*PAGE" },
]
"""


@pytest.mark.parametrize(
    ("algorithm", "found"),
    [("linux-4.8", 1), ("linux-6.1", 1), ("modern,retract_asks_early=true", 1), ("linux-6.2", 0), ("modern", 0)],
)
def test_who_asks_for_the_anon_vma_too_early_frees_a_table_under_a_walk(algorithm, found):
    (result,) = verify(Scenario.from_text(SHARING), algorithms=[algorithm]).results
    assert list(result.violating_classes) == ["use-after-free"] * found
    assert result.verdict.split()[0] == ("VIOLATED" if found else "VERIFIED")
