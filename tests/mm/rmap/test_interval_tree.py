"""The interval tree of an anon_vma: ordered by (vm_pgoff, insertion), and a walk meets the vmas that contain an index.

The tree alone is compared with a list that is searched from end to end; and inside the simulated kernel with the list
of the same anon_vma, after any sequence of calls that moves, splits, merges and forks vmas.
"""

from math import log2

import pytest
from calls import BASE, FAR, FAR2, PAGE, brk, fork, migrate, mmap, mprotect, mremap, munmap, touch
from hypothesis import given, note, settings
from hypothesis import strategies as st
from kernels import clean, explorer, run
from looks import vmas

from anonvma_rt.mm.lab.kernel import Refused
from anonvma_rt.mm.lab.world import World

INDEX0 = BASE // PAGE
MOST = 12  # indexes of the drawn vmas: so few that keys are often equal and ranges overlap


def make_tree(breaker):
    return breaker.Tree(explorer([mmap(0, 1)]))


# ---- the tree alone --------------------------------------------------------------------------------------------------


class Model:
    """The entries as they stand: [number, pgoff, pages], sorted by pgoff; equal ones in the order of insertion."""

    def __init__(self):
        self.entries = []

    def insert(self, number, pgoff, pages):
        behind = sum(entry[1] <= pgoff for entry in self.entries)
        self.entries.insert(behind, (number, pgoff, pages))

    def remove(self, number):
        self.entries = [entry for entry in self.entries if entry[0] != number]

    def order(self):
        return [number for number, _, _ in self.entries]

    def stab(self, index):
        return [number for number, pgoff, pages in self.entries if pgoff <= index < pgoff + pages]


ranges = st.tuples(st.integers(0, MOST), st.integers(1, MOST))
operations = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), ranges),
        st.tuples(st.just("insert"), ranges),
        st.tuples(st.just("remove"), st.integers(0, 1000)),
        st.tuples(st.just("resize"), st.integers(0, 1000), ranges),
    ),
    max_size=60,
)


@settings(max_examples=300)
@given(operations)
def test_order_and_stabs_are_those_of_a_list_that_is_searched(breaker, steps):
    tree, model = make_tree(breaker), Model()
    for verb, *arguments in steps:
        if verb == "insert":
            model.insert(tree.insert(*arguments[0]), *arguments[0])
        elif model.entries:
            number = model.order()[arguments[0] % len(model.entries)]
            model.remove(number)
            if verb == "remove":
                tree.remove(number)
            else:
                tree.resize(number, *arguments[1])
                model.insert(number, *arguments[1])
        assert [number for number, _ in tree.order()] == model.order()
        for index in range(2 * MOST + 2):
            assert tree.stab(index) == model.stab(index), index


def test_equal_keys_stand_in_the_order_of_insertion_and_a_change_goes_to_the_end(breaker):
    tree = make_tree(breaker)
    for pages in (3, 1, 2):
        tree.insert(5, pages)
    assert [number for number, _ in tree.order()] == [0, 1, 2] == tree.stab(5)
    tree.resize(0, 5, 4)
    assert tree.stab(5) == [1, 2, 0] and tree.stab(6) == [2, 0]


def test_nothing_is_found_outside_every_vma_and_in_an_empty_tree(breaker):
    tree = make_tree(breaker)
    assert tree.order() == [] and tree.stab(0) == []
    number = tree.insert(1 << 40, 1 << 20)
    assert [tree.stab((1 << 40) + at) for at in (-1, 0, (1 << 20) - 1, 1 << 20)] == [[], [0], [0], []]
    tree.remove(number)
    assert tree.order() == [] and tree.stab(1 << 40) == []


@pytest.mark.parametrize("keys", ["ascending", "descending", "equal"])
def test_the_tree_stays_flat_however_it_is_filled(breaker, keys):
    tree, entries = make_tree(breaker), 2000
    for number in range(entries):
        tree.insert({"ascending": number, "descending": entries - number, "equal": 7}[keys], 1)
    depth = max(depth for _, depth in tree.order())
    assert depth < 5 * log2(entries), "a random tree of n is about 3 log2 n deep"


# ---- the tree of the simulated kernel --------------------------------------------------------------------------------

places, lengths = st.integers(0, 30), st.integers(1, 8)
calls = st.one_of(
    st.builds(munmap, places, lengths),
    st.builds(mmap, places, lengths, st.booleans()),
    st.builds(mprotect, places, lengths, st.booleans()),
    st.builds(touch, places, lengths),
    st.builds(brk, places, lengths),
    st.builds(lambda page, pages, to: mremap(page, pages, to=to), places, lengths, places.map(lambda p: FAR + p)),
    st.builds(lambda page, pages, to: mremap(FAR + page, pages, to=to), places, lengths, places),
    st.builds(lambda page, pages, more: mremap(page, pages, new_pages=more), places, lengths, lengths),
    st.just(fork(1)),
)


def after_each(steps, **options):
    """The explorers of all prefixes, in which a step that was refused expects to be."""
    done = []
    for step in steps:
        try:
            made = explorer([*done, step], **options)
            done.append(step)
        except Refused as refused:
            done.append(step._replace(errno=refused.errno))
            made = explorer(done, **options)
        note(done[-1])
        yield made


@pytest.mark.parametrize("algorithm", ["interval-tree", "modern", "linux-6.19"])
@settings(max_examples=150)
@given(st.lists(calls, max_size=12))
def test_tree_and_list_of_an_anon_vma_hold_the_same_vmas(breaker, algorithm, steps):
    begin = [mmap(0, 30), touch(0, 30)]
    for made in after_each([*begin, *steps], algorithm=algorithm, processes=2):
        world = World(made)
        known = {v["id"]: v for process in (0, 1) for v in world.maps(process)}
        for anon_vma, listed in (world.lists(0) | world.lists(1)).items():
            order = breaker.tree_order(made, anon_vma)
            assert sorted(name for name, _, _ in order) == sorted(listed)
            keys = [pgoff for _, pgoff, _ in order]
            assert keys == sorted(keys)
            assert all((known[name]["pgoff"], (known[name]["end"] - known[name]["start"]) // PAGE) == (pgoff, pages)
                       for name, pgoff, pages in order)  # fmt: skip
            for index in range(INDEX0 - 1, INDEX0 + 40, 3):
                met = [name for name, pgoff, pages in order if pgoff <= index < pgoff + pages]
                assert breaker.tree_stab(made, anon_vma, index) == met
        assert made.run(0, 1).failures == [], "the check"
        made.close()


# A was cut in three; its middle went away and came home at another place in the list, whose order is that of age.
PIECES = [mmap(0, 6), touch(0, 6), mprotect(2, 2, False), mremap(0, 2, to=FAR), mremap(FAR, 2, to=0)]


def test_a_walk_looks_at_no_vma_that_cannot_contain_the_page():
    by_age = clean(run(PIECES, [migrate(5)]))
    in_tree = clean(run(PIECES, [migrate(5)], algorithm="interval-tree"))
    assert len(by_age.notes("no-look")) > 0 and in_tree.notes("no-look") == []
    assert {vma for _, vma, _ in in_tree.notes("list")} == {in_tree.world.maps()[2]["id"]}
    assert {vma for _, vma, _ in by_age.notes("list")} == {v["id"] for v in by_age.world.maps()}


@pytest.mark.parametrize(("algorithm", "order"), [("unpatched", [FAR, FAR2]), ("interval-tree", [FAR2, FAR])])
def test_a_walk_goes_by_the_index_and_not_by_age(algorithm, order):
    # The second move is of all eight pages and leaves the area behind, empty. So both destinations contain the page's
    # index, and the younger one begins with the smaller index.
    setup = [mmap(0, 8), touch(0, 8), mremap(4, 4, to=FAR, dontunmap=True), mremap(0, 8, to=FAR2, dontunmap=True)]
    run_ = clean(run(setup, [migrate(FAR + 1)], algorithm=algorithm))
    starts = {v["id"]: vma.start for v, vma in zip(run_.world.maps(), vmas(run_.world), strict=True)}
    assert [starts[vma] for _, vma, _ in run_.notes("list")] == order * 2, "in both walks"
    assert run_.counters["migrated"] == 1


def test_where_the_tree_has_the_destination_first_ptes_move_under_the_lock(breaker):
    # Kernel-reference Z6: moving a part back to its origin is the case that still locks.
    away = [mmap(0, 8), touch(0, 8), mremap(4, 4, to=FAR)]
    back = clean(run(away, [mremap(FAR, 4, to=4)], algorithm="interval-tree"))
    assert ("lock", ("anon_vma", 1)) in back.locks("mutex", between=("move", "clear"))
    out = clean(run(away[:2], [mremap(4, 4, to=FAR)], algorithm="interval-tree"))
    assert out.locks("mutex", between=("move", "clear")) == [], "a fresh destination stands behind its source"
    made = explorer(away, algorithm="interval-tree")
    (anon_vma,) = World(made).lists()
    assert [pgoff - INDEX0 for _, pgoff, _ in breaker.tree_order(made, anon_vma)] == [0, 4]
