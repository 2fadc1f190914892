"""A lock-free stack with the ABA bug: pop() compares an address, and the address came back.

Treiber's stack (1986): `top` names the first node, each node the next one. pop() loads top and its next, then swaps top
for next if top is still the same. That "the same" proves nothing: meanwhile another task may have popped two nodes and
pushed the first one back. top is A again, but next is a node that somebody owns by now. The fix is the usual one: a
count of pushes and pops beside the address, in the same word.
"""

from libc.stdint cimport int64_t

from anonvma_rt.api cimport (
    HALT_NO_MEMORY, OP_LOAD, VIOLATION_SUBJECT, Execution, Explorer, Subject, Task, arena_alloc, arena_root,
    compare_exchange, found, halt, load, note, require_api, store,
)

from anonvma_rt.api import ARENA_ROOT

require_api(__name__)

cdef enum:
    STACK = 1  # the type of the one arena object
    MAX_NODES = 16
    NOBODY = -1
    EMPTY = 0  # a node is named by its number plus one, so that 0 can be the end
    NODE = 0xFFFF
    COUNT_SHIFT = 16

cdef enum:
    DUPLICATE = VIOLATION_SUBJECT
    LOST

cdef enum:
    POPPED = 1
    FAILED
    PUSHED

cdef struct stack:
    int64_t top  # the first node in 16 bits; `tagged`: above them how often it was changed
    int64_t next[MAX_NODES]
    int64_t owner[MAX_NODES]  # the task that popped it, NOBODY while it is on the stack


cdef class Stack(Subject):
    """a lock-free stack: one task pops while another pops twice and pushes the first node back"""

    parameters = {"nodes": {"default": 3, "min": 2, "max": 16, "about": "nodes on the stack at the beginning"}}
    variants = {"plain": {"tagged": False}, "tagged": {"tagged": True}}
    expect = {"plain": "duplicate-node", "tagged": "none"}
    task_names = ("one", "two")

    cdef int nodes
    cdef bint tagged

    def __init__(self, nodes, tagged):
        self.tasks = 2
        self.nodes = nodes
        self.tagged = tagged

    cdef int build(self, Task *t) noexcept nogil:
        cdef stack *s = <stack *>arena_alloc(&t.x.arena, sizeof(stack), STACK)
        cdef int i
        if s == NULL:
            halt(t, HALT_NO_MEMORY)
        s.top = 1
        for i in range(self.nodes):
            s.next[i] = i + 2 if i + 1 < self.nodes else EMPTY
            s.owner[i] = NOBODY
        return 0

    cdef void body(self, Task *t) noexcept nogil:
        cdef stack *s = <stack *>arena_root(&t.x.arena)
        cdef int64_t first = pop(t, s, self.tagged)
        if t.id == 1:
            pop(t, s, self.tagged)
            if first != EMPTY:
                push(t, s, first, self.tagged)

    cdef void check(self, Execution *x) noexcept nogil:
        """Each node is on the stack once, or one task's own."""
        cdef stack *s = <stack *>arena_root(&x.arena)
        cdef int64_t node = s.top & NODE
        cdef int64_t on_stack = 0
        cdef int i
        while node != EMPTY:
            if s.owner[node - 1] != NOBODY or on_stack >> node & 1:
                found(x, DUPLICATE, -1, node - 1, s.owner[node - 1], 0)
                return
            on_stack |= <int64_t>1 << node
            node = s.next[node - 1]
        for i in range(self.nodes):
            if s.owner[i] == NOBODY and not on_stack >> (i + 1) & 1:
                found(x, LOST, -1, i, 0, 0)

    def kinds(self):
        return {**Subject.kinds(self), DUPLICATE: "duplicate-node", LOST: "lost-node"}

    # ---- what a history says, in words ----

    def note_text(self, code, a, b, c):
        if code == POPPED:
            return f"pops node {a}; the next is now {node_name(b)}"
        if code == FAILED:
            return f"top is not {node_name(a)} any more: tries again"
        return f"pushes node {a}"

    def object_name(self, offset):
        field = (offset - ARENA_ROOT) // sizeof(int64_t)
        return "top" if field == 0 else f"next of node {field - 1}" if field <= MAX_NODES else None

    def values(self, Explorer explorer):
        cdef stack *s = <stack *>arena_root(&explorer.x.arena)
        values = {"top": s.top & NODE, "changes of top": s.top >> COUNT_SHIFT}
        for i in range(self.nodes):
            values[f"next of node {i}"] = s.next[i]
            values[f"owner of node {i}"] = s.owner[i]
        return values

    def cause(self, kind, task, step, a, b, c):
        if kind == "duplicate-node":
            return f"Node {a} is on the stack, and task {self.task_names[b]} has popped it: both think it is theirs."
        return f"Node {a} is neither on the stack nor anybody's." if kind == "lost-node" else None


def node_name(node):
    return f"node {node - 1}" if node else "the end"


cdef int64_t word(int64_t node, int64_t before, bint tagged) noexcept nogil:
    """What top becomes: the node, and one more change than before."""
    return node | ((before >> COUNT_SHIFT) + 1) << COUNT_SHIFT if tagged else node


cdef int64_t pop(Task *t, stack *s, bint tagged) noexcept nogil:
    cdef int64_t top
    cdef int64_t node
    cdef int64_t after
    while True:
        top = load(t, &s.top)
        node = top & NODE
        if node == EMPTY:
            return EMPTY
        after = load(t, &s.next[node - 1])
        if compare_exchange(t, &s.top, top, word(after, top, tagged)):
            s.owner[node - 1] = t.id
            note(t, POPPED, node - 1, after, 0)
            return node
        note(t, FAILED, node, 0, 0)


cdef void push(Task *t, stack *s, int64_t node, bint tagged) noexcept nogil:
    cdef int64_t top
    s.owner[node - 1] = NOBODY
    while True:
        top = load(t, &s.top)
        store(t, &s.next[node - 1], top & NODE)
        if compare_exchange(t, &s.top, top, word(node, top, tagged)):
            note(t, PUSHED, node - 1, 0, 0)
            return
