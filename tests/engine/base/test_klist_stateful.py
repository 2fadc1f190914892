"""Random sequences of list operations against plain Python lists.

Hypothesis drives three kernel lists and three Python lists side by side and walks both ways after each step, so that a
wrong or forgotten link shows at the operation that wrote it, in as few steps as it takes.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from anonvma_rt.engine.base import klist

List, Node = klist.List, klist.Node

SLOTS = 3
slots = st.integers(0, SLOTS - 1)
spots = st.integers(0, 7)  # taken modulo what is there, so that every draw means something
flags = st.booleans()


def raises_corruption(function, *arguments):
    try:
        function(*arguments)
    except klist.ListCorruption as error:
        return error.fault
    raise AssertionError(f"{function.__name__} was let through")


class Lists(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.heads = [List() for _ in range(SLOTS)]
        self.models = [[] for _ in range(SLOTS)]
        self.out = []  # deleted nodes, with how they left
        self.made = 0

    def fresh(self):
        self.made += 1
        return Node(self.made)

    def linked(self):
        return [(slot, at) for slot, model in enumerate(self.models) for at in range(len(model))]

    def pick(self, spot):
        places = self.linked()
        return places[spot % len(places)]

    def place(self, slot, spot):
        """A head or a node of that slot, and the index that "right after it" means in the model."""
        at = spot % (len(self.models[slot]) + 1)
        return (self.heads[slot], 0) if at == 0 else (self.models[slot][at - 1], at)

    def before(self, slot, spot):
        """The same for "right before it"."""
        model = self.models[slot]
        at = spot % (len(model) + 1)
        return (self.heads[slot], len(model)) if at == len(model) else (model[at], at)

    some = precondition(lambda self: any(self.models))

    @initialize(sizes=st.tuples(*[st.integers(0, 5)] * SLOTS))
    def fill(self, sizes):
        for slot, size in enumerate(sizes):
            self.models[slot] = [self.fresh() for _ in range(size)]
            for node in self.models[slot]:
                klist.add_tail(node, self.heads[slot])

    # ---- one entry

    @rule(slot=slots, spot=spots, tail=flags, again=flags)
    def add(self, slot, spot, tail, again):
        node = self.out.pop()[0] if again and self.out else self.fresh()
        head, at = self.before(slot, spot) if tail else self.place(slot, spot)
        (klist.add_tail if tail else klist.add)(node, head)
        self.models[slot].insert(at, node)

    @some
    @rule(spot=spots, init=flags)
    def delete(self, spot, init):
        slot, at = self.pick(spot)
        node = self.models[slot].pop(at)
        (klist.del_init if init else klist.del_)(node)
        assert klist.empty(node) is init
        self.out.append((node, init))

    @precondition(lambda self: self.out)
    @rule(spot=spots)
    def delete_again(self, spot):
        node, init = self.out[spot % len(self.out)]
        if init:
            klist.del_init(node)
        else:
            assert raises_corruption(klist.del_, node) is klist.Fault.NEXT_POISONED

    @some
    @rule(spot=spots, slot=slots)
    def add_twice(self, spot, slot):
        source, at = self.pick(spot)
        assert raises_corruption(klist.add, self.models[source][at], self.heads[slot]) is klist.Fault.ADDED_TWICE

    @some
    @rule(spot=spots, init=flags)
    def replace(self, spot, init):
        slot, at = self.pick(spot)
        old, new = self.models[slot][at], self.fresh()
        (klist.replace_init if init else klist.replace)(old, new)
        self.models[slot][at] = new
        self.out.append((old, init))

    @rule(slot=slots, init=flags)
    def replace_head(self, slot, init):
        old, self.heads[slot] = self.heads[slot], List()
        (klist.replace_init if init else klist.replace)(old, self.heads[slot])
        assert klist.empty(old) is init

    @some
    @rule(spot1=spots, spot2=spots)
    def swap(self, spot1, spot2):
        (slot1, at1), (slot2, at2) = self.pick(spot1), self.pick(spot2)
        if (slot1, at1) != (slot2, at2):
            node1, node2 = self.models[slot1][at1], self.models[slot2][at2]
            klist.swap(node1, node2)
            self.models[slot1][at1], self.models[slot2][at2] = node2, node1

    @some
    @rule(spot=spots, slot=slots, to=spots, tail=flags)
    def move(self, spot, slot, to, tail):
        source, at = self.pick(spot)
        node = self.models[source][at]
        head, _ = self.before(slot, to) if tail else self.place(slot, to)
        function = klist.move_tail if tail else klist.move
        if head is node:
            assert raises_corruption(function, node, head) is klist.Fault.ADDED_TWICE
            return
        function(node, head)
        del self.models[source][at]
        model = self.models[slot]
        end = len(model) if tail else 0
        model.insert(end if isinstance(head, List) else model.index(head) + (not tail), node)

    # ---- many entries

    @some
    @rule(spot=spots, length=st.integers(1, 4))
    def bulk_move_tail(self, spot, length):
        slot, at = self.pick(spot)
        model = self.models[slot]
        run = model[at : at + length]
        klist.bulk_move_tail(self.heads[slot], run[0], run[-1])
        self.models[slot] = model[:at] + model[at + length :] + run

    @rule(slot=slots)
    def rotate_left(self, slot):
        klist.rotate_left(self.heads[slot])
        self.models[slot] = self.models[slot][1:] + self.models[slot][:1]

    @some
    @rule(spot=spots)
    def rotate_to_front(self, spot):
        slot, at = self.pick(spot)
        klist.rotate_to_front(self.models[slot][at], self.heads[slot])
        self.models[slot] = self.models[slot][at:] + self.models[slot][:at]

    @rule(slot=slots, other=slots, spot=spots, before=flags)
    def cut(self, slot, other, spot, before):
        """Into an empty slot if there is one, else into a list of its own that comes back at the end."""
        head, model = self.heads[slot], self.models[slot]
        own = slot == other or bool(self.models[other])
        piece = List() if own else self.heads[other]
        if before:
            entry, count = self.before(slot, spot)
            klist.cut_before(piece, head, entry)
        else:
            entry, count = self.place(slot, spot)
            klist.cut_position(piece, head, entry)
        front, self.models[slot] = model[:count], model[count:]
        assert list(piece) == front
        assert list(reversed(piece)) == front[::-1]
        if own:
            klist.splice_tail_init(piece, head)
            self.models[slot] += front
        else:
            self.models[other] = front

    @rule(source=slots, slot=slots, spot=spots, tail=flags, init=flags)
    def splice(self, source, slot, spot, tail, init):
        if source == slot:
            return
        head, at = self.before(slot, spot) if tail else self.place(slot, spot)
        function = {
            (False, False): klist.splice,
            (True, False): klist.splice_tail,
            (False, True): klist.splice_init,
            (True, True): klist.splice_tail_init,
        }[tail, init]
        stale = bool(self.models[source]) and not init
        function(self.heads[source], head)
        self.models[slot][at:at] = self.models[source]
        self.models[source] = []
        if stale:
            assert raises_corruption(list, self.heads[source]) is klist.Fault.NEXT_POISONED
            klist.init(self.heads[source])

    # ---- walks

    @rule(slot=slots, other=slots, keep=spots, backward=flags)
    def safe_walk(self, slot, other, keep, backward):
        """The body of a safe walk moves some nodes away and passes over the others."""
        if slot == other:
            return
        model = self.models[slot]
        gone = []
        for node in (klist.for_each_prev_safe if backward else klist.for_each_safe)(self.heads[slot]):
            if (keep >> len(gone) % 3) & 1:
                klist.move_tail(node, self.heads[other])
                self.models[other].append(node)
            gone.append(node)
        assert gone == (model[::-1] if backward else model)
        self.models[slot] = [node for node in model if node.owner is self.heads[slot]]

    # ---- what must hold

    @invariant()
    def same(self):
        for head, model in zip(self.heads, self.models, strict=True):
            assert list(klist.for_each(head)) == list(klist.for_each_safe(head)) == model
            assert list(klist.for_each_prev(head)) == list(klist.for_each_prev_safe(head)) == model[::-1]
            assert len(head) == len(model)
            assert klist.empty(head) is (not model)
            assert klist.is_singular(head) is (len(model) == 1)
            assert klist.first(head) is (model[0] if model else None)
            assert klist.last(head) is (model[-1] if model else None)
            for at, node in enumerate(model):
                assert node in head
                assert node.owner is head
                assert not klist.empty(node)
                assert not klist.is_head(node, head)
                assert klist.is_first(node, head) is (at == 0)
                assert klist.is_last(node, head) is (at == len(model) - 1)
                assert node.next is (model[at + 1] if at + 1 < len(model) else None)
                assert node.prev is (model[at - 1] if at else None)
        for node, init in self.out:
            assert node.owner is None
            assert (node.links == (klist.POISON1, klist.POISON2)) is not init


TestLists = Lists.TestCase
TestLists.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
