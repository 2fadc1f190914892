"""The list, primitive by primitive: a case is a sentence, a call in the kernel's argument order, the rings before and
the rings after."""

import pytest
from rawlist import SIGNATURES, WALKS, Fault

POISONED = ("POISON1", "POISON2")


def links_of(rings):
    """What each entry's next and prev are in rings like "012 45"."""
    rings = [[int(digit) for digit in ring] for ring in rings.split()]
    return {i: (ring[(at + 1) % len(ring)], ring[at - 1]) for ring in rings for at, i in enumerate(ring)}


def lay(raw, rings):
    for i, (next, prev) in links_of(rings).items():
        raw.set_links(i, next, prev)


def expect(raw, rings, off=""):
    expected = links_of(rings)
    for item in off.split():
        i, links = item.split("=")
        expected[int(i)] = POISONED if links == "poison" else tuple(map(int, links))
    assert {i: raw.links(i) for i in expected} == expected


# The call, the rings before, the rings after (a digit is an entry, the head comes first), and the links of what is on
# no ring then: "1=20" means that 1.next is 2 and 1.prev is 0.
OPERATIONS = {
    "INIT_LIST_HEAD links the head to itself": ("INIT_LIST_HEAD 0", "", "0", ""),
    "list_add puts the new entry right after the head": ("list_add 9 0", "012", "0912", ""),
    "list_add into an empty list": ("list_add 9 0", "0", "09", ""),
    "list_add after an entry": ("list_add 9 1", "012", "0192", ""),
    "list_add_tail puts the new entry right before the head": ("list_add_tail 9 0", "012", "0129", ""),
    "list_add_tail into an empty list": ("list_add_tail 9 0", "0", "09", ""),
    "list_add_tail before an entry": ("list_add_tail 9 2", "012", "0192", ""),
    "list_del unlinks and poisons both pointers": ("list_del 2", "0123", "013", "2=poison"),
    "list_del of the only entry leaves an empty list": ("list_del 1", "01", "0", "1=poison"),
    "list_del_init leaves an entry that is empty": ("list_del_init 2", "012", "01 2", ""),
    "list_del_init may be repeated": ("list_del_init 2", "01 2", "01 2", ""),
    "list_replace(old, new) puts new where old was": ("list_replace 1 9", "012", "092", "1=20"),
    "list_replace of a head": ("list_replace 0 9", "012", "912", ""),
    "list_replace of an empty head makes an empty head": ("list_replace 0 9", "0", "9", "0=09"),
    "list_replace_init leaves old empty": ("list_replace_init 1 9", "012", "092 1", ""),
    "list_swap exchanges two places": ("list_swap 1 3", "01234", "03214", ""),
    "list_swap of neighbours": ("list_swap 1 2", "0123", "0213", ""),
    "list_swap of neighbours, the later one first": ("list_swap 2 1", "0123", "0213", ""),
    "list_swap of the only two entries": ("list_swap 1 2", "012", "021", ""),
    "list_swap across two lists": ("list_swap 1 5", "012 45", "052 41", ""),
    "list_move(entry, head) takes the entry right after the head": ("list_move 3 0", "0123", "0312", ""),
    "list_move to another list": ("list_move 2 4", "012 45", "01 425", ""),
    "list_move of the first entry to the front": ("list_move 1 0", "012", "012", ""),
    "list_move_tail(entry, head) takes it right before": ("list_move_tail 1 0", "0123", "0231", ""),
    "list_move_tail to another list": ("list_move_tail 1 4", "012 45", "02 451", ""),
    "list_move_tail of the last entry to the end": ("list_move_tail 2 0", "012", "012", ""),
    "list_bulk_move_tail(head, first, last)": ("list_bulk_move_tail 0 1 2", "01234", "03412", ""),
    "list_bulk_move_tail of one entry": ("list_bulk_move_tail 0 2 2", "0123", "0132", ""),
    "list_bulk_move_tail of what is the tail": ("list_bulk_move_tail 0 2 3", "0123", "0123", ""),
    "list_bulk_move_tail of everything": ("list_bulk_move_tail 0 1 3", "0123", "0123", ""),
    "list_rotate_left makes the first entry the last": ("list_rotate_left 0", "0123", "0231", ""),
    "list_rotate_left of an empty list": ("list_rotate_left 0", "0", "0", ""),
    "list_rotate_to_front(entry, head)": ("list_rotate_to_front 3 0", "01234", "03412", ""),
    "list_rotate_to_front of the first entry": ("list_rotate_to_front 1 0", "012", "012", ""),
    "list_cut_position(list, head, entry) takes entry along": ("list_cut_position 9 0 2", "0123", "912 03", ""),
    "list_cut_position at the last entry takes all": ("list_cut_position 9 0 2", "012", "912 0", ""),
    "list_cut_position at the only entry": ("list_cut_position 9 0 1", "01", "91 0", ""),
    "list_cut_position at the head empties list": ("list_cut_position 9 0 0", "01 98", "01 9", ""),
    "list_cut_position of an empty head leaves list": ("list_cut_position 9 0 0", "0 98", "0 98", ""),
    "list_cut_position of a singular head at a stranger": ("list_cut_position 9 0 5", "01 45 98", "01 45 98", ""),
    "list_cut_before(list, head, entry) leaves entry": ("list_cut_before 9 0 2", "0123", "91 023", ""),
    "list_cut_before the first entry empties list": ("list_cut_before 9 0 1", "01 98", "01 9", ""),
    "list_cut_before the head takes all": ("list_cut_before 9 0 0", "012", "912 0", ""),
    "list_cut_before of an empty head empties list": ("list_cut_before 9 0 0", "0 98", "0 9", ""),
    "list_splice(list, head) puts all right after the head": ("list_splice 0 4", "012 45", "4125", "0=12"),
    "list_splice of an empty list": ("list_splice 0 4", "0 45", "0 45", ""),
    "list_splice after an entry": ("list_splice 0 5", "012 456", "45126", ""),
    "list_splice_tail(list, head) puts all right before the head": ("list_splice_tail 0 4", "012 45", "4512", "0=12"),
    "list_splice_tail of an empty list": ("list_splice_tail 0 4", "0 45", "0 45", ""),
    "list_splice_init empties list": ("list_splice_init 0 4", "012 45", "4125 0", ""),
    "list_splice_init into an empty head": ("list_splice_init 0 4", "01 4", "41 0", ""),
    "list_splice_init of an empty list": ("list_splice_init 0 4", "0 45", "45 0", ""),
    "list_splice_tail_init empties list": ("list_splice_tail_init 0 4", "012 45", "4512 0", ""),
    "list_splice_tail_init of an empty list": ("list_splice_tail_init 0 4", "0 45", "45 0", ""),
}

QUESTIONS = {
    "list_is_first(entry, head)": ("list_is_first", [((1, 0), 1), ((2, 0), 0), ((3, 0), 0), ((0, 1), 0)]),
    "list_is_last(entry, head)": ("list_is_last", [((3, 0), 1), ((2, 0), 0), ((1, 0), 0), ((0, 3), 0)]),
    "list_is_head(entry, head)": ("list_is_head", [((0, 0), 1), ((1, 0), 0), ((4, 0), 0)]),
    "list_empty of heads": ("list_empty", [((0,), 0), ((4,), 1), ((5,), 0), ((1,), 0)]),
    "list_is_singular": ("list_is_singular", [((0,), 0), ((4,), 0), ((5,), 1), ((7,), 0)]),
    "list_count_nodes": ("list_count_nodes", [((0,), 3), ((4,), 0), ((5,), 1), ((7,), 2)]),
    "list_first is the head if there is none": ("list_first", [((0,), 1), ((4,), 4)]),
    "list_last is the head if there is none": ("list_last", [((0,), 3), ((4,), 4)]),
    "list_first_or_null": ("list_first_or_null", [((0,), 1), ((4,), 0)]),
}


@pytest.mark.parametrize("case", OPERATIONS)
def test_operation(raw, case):
    call, before, after, off = OPERATIONS[case]
    function, *arguments = call.split()
    lay(raw, before)
    getattr(raw, function)(*map(int, arguments))
    expect(raw, after, off)


def test_every_operation_has_a_case():
    assert {case[0].split()[0] for case in OPERATIONS.values()} == set(SIGNATURES["void"])
    asked = {case[0] for case in QUESTIONS.values()} | {"list_del_valid", "list_add_valid"}
    assert asked == set(SIGNATURES["int"]) | set(SIGNATURES["link"])


@pytest.mark.parametrize("case", QUESTIONS)
def test_question(raw, case):
    function, answers = QUESTIONS[case]
    lay(raw, "0123 4 56 789")
    assert [getattr(raw, function)(*arguments) for arguments, _ in answers] == [answer for _, answer in answers]


# ---- broken raw links ------------------------------------------------------------------------------------------------

FREED = 0x6B6B6B6B6B6B6B6B  # what an allocator may leave behind


@pytest.mark.parametrize(
    ("next", "prev", "fault"),
    [
        (3, 1, Fault.OK),
        ("POISON1", 1, Fault.NEXT_POISONED),
        ("POISON1", "POISON2", Fault.NEXT_POISONED),
        (3, "POISON2", Fault.PREV_POISONED),
        (3, "POISON1", Fault.PREV_WILD),
        (FREED, FREED, Fault.NEXT_WILD),
        (4095, 1, Fault.NEXT_WILD),
        (3, FREED, Fault.PREV_WILD),
        (3, 4, Fault.PREV_BROKEN),
        (4, 1, Fault.NEXT_BROKEN),
    ],
)
def test_list_del_valid_names_the_fault(raw, next, prev, fault):
    lay(raw, "0123 4")
    raw.set_links(2, getattr(raw, str(next), next), getattr(raw, str(prev), prev))
    assert raw.list_del_valid(2) == fault


def test_list_del_valid_of_zeroed_memory(raw):
    assert raw.list_del_valid(2) == Fault.NEXT_WILD


def test_a_second_list_del_is_caught(raw):
    lay(raw, "012")
    assert raw.list_del_valid(1) == Fault.OK
    raw.list_del(1)
    assert raw.list_del_valid(1) == Fault.NEXT_POISONED


def test_list_del_after_list_replace_is_caught(raw):
    lay(raw, "012")
    raw.list_replace(1, 9)
    assert raw.list_del_valid(1) == Fault.PREV_BROKEN


def test_list_add_valid_names_the_fault(raw):
    lay(raw, "012 45 9")
    assert raw.list_add_valid(9, 0, 1) == Fault.OK
    assert raw.list_add_valid(9, 0, 2) == Fault.NEXT_BROKEN
    assert raw.list_add_valid(1, 0, 1) == raw.list_add_valid(0, 0, 1) == Fault.ADDED_TWICE
    raw.set_links(5, 4, 1)
    assert raw.list_add_valid(9, 1, 5) == Fault.PREV_BROKEN
    lay(raw, "4")
    raw.set_links(9, raw.POISON1, raw.POISON2)
    assert raw.list_add_valid(9, 4, 4) == Fault.OK


def test_list_add_valid_beside_a_deleted_entry(raw):
    lay(raw, "012")
    raw.list_del(1)
    assert raw.list_add_valid(9, 0, 1) == raw.list_add_valid(9, 1, 2) == Fault.NEXT_BROKEN


def test_adding_next_to_a_deleted_entry_does_not_follow_its_links(raw):
    """list_add(new, deleted) hands the poison itself to list_add_valid."""
    raw.set_links(1, raw.POISON1, raw.POISON2)
    assert raw.add_valid_after(9, 1) == Fault.NEXT_POISONED
    assert raw.add_valid_before(9, 1) == Fault.PREV_POISONED


# ---- raw walks -------------------------------------------------------------------------------------------------------


def forward(kind, nodes):
    return nodes[::-1] if "prev" in kind else nodes


@pytest.mark.parametrize("kind", WALKS)
def test_a_walk_visits_all_in_order_and_ends_at_the_head(raw, kind):
    lay(raw, "0123 4")
    assert raw.walk(kind, 0, id) == (forward(kind, [1, 2, 3]), 0, 0, False)
    assert raw.walk(kind, 4, id) == ([], 0, 4, False)


@pytest.mark.parametrize("kind", WALKS)
def test_the_body_of_a_safe_walk_may_delete_its_entry(raw, kind):
    lay(raw, "0123")
    seen, corrupt, pos, again = raw.walk(kind, 0, raw.list_del)
    if "safe" in kind:
        assert (seen, corrupt, pos) == (forward(kind, [1, 2, 3]), 0, 0)
        expect(raw, "0", "1=poison 2=poison 3=poison")
    else:
        first = forward(kind, [1, 3])[0]
        poisoned = Fault.PREV_POISONED if "prev" in kind else Fault.NEXT_POISONED
        assert (seen, corrupt, pos, again) == ([first], poisoned, first, False)


@pytest.mark.parametrize("kind", WALKS)
def test_the_body_of_a_safe_walk_may_move_its_entry(raw, kind):
    lay(raw, "0123 4")
    if "safe" in kind:
        assert raw.walk(kind, 0, lambda i: raw.list_move_tail(i, 4))[:2] == (forward(kind, [1, 2, 3]), 0)
        expect(raw, "0 4321" if "prev" in kind else "0 4123")


@pytest.mark.parametrize("kind", WALKS)
def test_a_walk_on_an_entry_that_list_del_init_took_out_does_not_spin(raw, kind):
    lay(raw, "0123")
    expected = (forward(kind, [1, 2, 3]), 0) if "safe" in kind else (forward(kind, [1, 3])[:1], Fault.SELF_LINKED)
    assert raw.walk(kind, 0, raw.list_del_init)[:2] == expected


@pytest.mark.parametrize("kind", WALKS[2:])
@pytest.mark.parametrize("function", ["list_del", "list_del_init"])
def test_a_safe_walk_stops_before_an_entry_deleted_while_it_was_next(raw, kind, function):
    lay(raw, "0123")
    fault = Fault.SELF_LINKED
    if function == "list_del":
        fault = Fault.PREV_POISONED if "prev" in kind else Fault.NEXT_POISONED
    delete = getattr(raw, function)
    found = raw.walk(kind, 0, lambda i: delete(2) if i != 2 else None)
    assert found == (forward(kind, [1, 3])[:1], fault, 2, False)


@pytest.mark.parametrize("kind", WALKS)
def test_a_walk_from_a_broken_head_stops_at_once(raw, kind):
    wild = Fault.PREV_WILD if "prev" in kind else Fault.NEXT_WILD
    assert raw.walk(kind, 0, id) == ([], wild, 0, False)
    raw.set_links(0, FREED, FREED)
    assert raw.walk(kind, 0, id) == ([], wild, 0, False)


def test_the_faults_are_the_codes_of_the_list(raw):
    assert {fault.name: fault for fault in Fault} == raw.FAULTS


def test_the_poison_faults_on_64_bit(raw):
    assert raw.POISON1 != raw.POISON2
    assert {raw.POISON1 & 0xFFF, raw.POISON2 & 0xFFF} == {0x100, 0x122}
    assert raw.POISON1 >> 32 in (0xDEAD0000, 0)
