"""Random sequences of list operations against plain Python lists.

Hypothesis drives three kernel lists and three Python lists side by side and walks both ways after each step, so that a
wrong or forgotten link shows at the operation that wrote it, in as few steps as it takes.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from rawlist import WALKS, Fault

HEADS, ENTRIES = range(3), range(3, 10)
slots = st.sampled_from(HEADS)
spots = st.integers(0, 7)  # taken modulo what is there, so that every draw means something
flags = st.booleans()


class Lists(RuleBasedStateMachine):
    """models: the entries of each list, in order. out: entries on no list, and whether they are empty or poisoned."""

    def __init__(self, raw):
        super().__init__()
        self.raw = raw
        raw.reset()
        for number in (*HEADS, *ENTRIES):
            raw.INIT_LIST_HEAD(number)
        self.models = [[] for _ in HEADS]
        self.out = dict.fromkeys(ENTRIES, True)

    def pick(self, spot):
        places = [(slot, at) for slot, model in enumerate(self.models) for at in range(len(model))]
        return places[spot % len(places)]

    def place(self, slot, spot, tail):
        """A head or an entry of that list, and the index that "right after it" means in the model; with `tail`, right
        before it."""
        ring = [*self.models[slot], slot] if tail else [slot, *self.models[slot]]
        at = spot % len(ring)
        return ring[at], at

    some = precondition(lambda self: any(self.models))
    spare = precondition(lambda self: self.out)

    # ---- one entry

    @spare
    @rule(slot=slots, spot=spots, tail=flags)
    def add(self, slot, spot, tail):
        entry, _ = self.out.popitem()
        head, at = self.place(slot, spot, tail)
        (self.raw.list_add_tail if tail else self.raw.list_add)(entry, head)
        self.models[slot].insert(at, entry)

    @some
    @rule(spot=spots, init=flags)
    def delete(self, spot, init):
        slot, at = self.pick(spot)
        entry = self.models[slot].pop(at)
        (self.raw.list_del_init if init else self.raw.list_del)(entry)
        self.out[entry] = init

    @some
    @spare
    @rule(spot=spots, init=flags)
    def replace(self, spot, init):
        slot, at = self.pick(spot)
        old, (new, _) = self.models[slot][at], self.out.popitem()
        (self.raw.list_replace_init if init else self.raw.list_replace)(old, new)
        if not init:
            self.raw.INIT_LIST_HEAD(old)
        self.models[slot][at] = new
        self.out[old] = True

    @some
    @rule(spot1=spots, spot2=spots)
    def swap(self, spot1, spot2):
        (slot1, at1), (slot2, at2) = self.pick(spot1), self.pick(spot2)
        if (slot1, at1) != (slot2, at2):
            entry1, entry2 = self.models[slot1][at1], self.models[slot2][at2]
            self.raw.list_swap(entry1, entry2)
            self.models[slot1][at1], self.models[slot2][at2] = entry2, entry1

    @some
    @rule(spot=spots, slot=slots, to=spots, tail=flags)
    def move(self, spot, slot, to, tail):
        source, at = self.pick(spot)
        entry = self.models[source][at]
        head, _ = self.place(slot, to, tail)
        if head == entry:
            return
        (self.raw.list_move_tail if tail else self.raw.list_move)(entry, head)
        del self.models[source][at]
        model = self.models[slot]
        at_head = len(model) if tail else 0
        model.insert(at_head if head in HEADS else model.index(head) + (not tail), entry)

    # ---- many entries

    @some
    @rule(spot=spots, length=st.integers(1, 4))
    def bulk_move_tail(self, spot, length):
        slot, at = self.pick(spot)
        model = self.models[slot]
        run = model[at : at + length]
        self.raw.list_bulk_move_tail(slot, run[0], run[-1])
        self.models[slot] = model[:at] + model[at + length :] + run

    @rule(slot=slots)
    def rotate_left(self, slot):
        self.raw.list_rotate_left(slot)
        self.models[slot] = self.models[slot][1:] + self.models[slot][:1]

    @some
    @rule(spot=spots)
    def rotate_to_front(self, spot):
        slot, at = self.pick(spot)
        self.raw.list_rotate_to_front(self.models[slot][at], slot)
        self.models[slot] = self.models[slot][at:] + self.models[slot][:at]

    @rule(slot=slots, other=slots, spot=spots, before=flags)
    def cut(self, slot, other, spot, before):
        if slot == other or self.models[other]:
            return
        entry, count = self.place(slot, spot, before)
        (self.raw.list_cut_before if before else self.raw.list_cut_position)(other, slot, entry)
        self.models[other], self.models[slot] = self.models[slot][:count], self.models[slot][count:]

    @rule(source=slots, slot=slots, spot=spots, tail=flags, init=flags)
    def splice(self, source, slot, spot, tail, init):
        if source == slot:
            return
        head, at = self.place(slot, spot, tail)
        getattr(self.raw, f"list_splice{'_tail' * tail}{'_init' * init}")(source, head)
        if not init:
            self.raw.INIT_LIST_HEAD(source)
        self.models[slot][at:at] = self.models[source]
        self.models[source] = []

    @rule(slot=slots, other=slots, keep=spots, backward=flags)
    def safe_walk(self, slot, other, keep, backward):
        """The body of a safe walk moves some entries away and passes over the others."""
        if slot == other:
            return
        gone = []

        def body(entry):
            if (keep >> entry % 3) & 1:
                self.raw.list_move_tail(entry, other)
                gone.append(entry)

        model = self.models[slot]
        walked = self.raw.walk(WALKS[3 if backward else 2], slot, body)
        assert walked[:2] == (model[::-1] if backward else model, Fault.OK)
        self.models[other] += gone
        self.models[slot] = [entry for entry in model if entry not in gone]

    # ---- what must hold

    @invariant()
    def same(self):
        for head, model in enumerate(self.models):
            for walk in WALKS:
                assert self.raw.walk(walk, head, id)[:2] == (model[::-1] if "prev" in walk else model, Fault.OK)
            assert self.raw.list_count_nodes(head) == len(model)
            assert self.raw.list_empty(head) == (not model) and self.raw.list_is_singular(head) == (len(model) == 1)
            for at, entry in enumerate(model):
                assert self.raw.list_del_valid(entry) == Fault.OK
                assert self.raw.list_add_valid(entry, self.raw.list_last(head), head) in (Fault.OK, Fault.ADDED_TWICE)
                assert self.raw.list_is_first(entry, head) == (at == 0)
                assert self.raw.list_is_last(entry, head) == (at == len(model) - 1)
        for entry, empty in self.out.items():
            assert self.raw.links(entry) == ((entry, entry) if empty else ("POISON1", "POISON2"))
            assert self.raw.list_del_valid(entry) == (Fault.OK if empty else Fault.NEXT_POISONED)


def test_any_sequence_of_operations_is_that_of_plain_lists(raw):
    run_state_machine_as_test(lambda: Lists(raw), settings=settings(max_examples=300, stateful_step_count=40))
