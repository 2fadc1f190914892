"""SURW, the selectively uniform random walk: every order of the *interesting* operations is equally likely.

Source: Zhao, Wolff, Mathur, Roychoudhury, "Selectively Uniform Concurrency Testing" (ASPLOS 2025). The task that makes
the next interesting operation is drawn by how many of them each task still has; until it has made it, the others are
held back where they stand at theirs, and go on freely elsewhere. So the length of an execution is no matter: a race of
three operations is as likely among a million points as among ten.

What is interesting the subject says (mark). Where it says nothing, each execution draws a place, one of those that the
profile saw several tasks touch (engine/search/places), and what is done there is interesting.
"""

from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from anonvma_rt.engine.base.operation cimport MAX_TASKS, NEVER, OP_AWAIT, OP_START
from anonvma_rt.engine.base.rng cimport rng_below
from anonvma_rt.engine.base.tasks cimport (
    TaskSet, add, anybody, beyond, clear, copy, drop, has, pop, take_away, unite,
)
from anonvma_rt.engine.order.relation cimport gives_back
from anonvma_rt.engine.run.strategy cimport Strategy
from anonvma_rt.engine.run.task cimport Execution, Task
from anonvma_rt.engine.strategy.base cimport any_of, draw_by_weight, keep_counts, left, steps_of

cdef struct Place:
    uint64_t offset
    # How often each task comes there.
    uint64_t *visits

cdef class Surw(Strategy):
    """`surw`: the counts come from the explorer's profile. Parameter place: the offset of the place that every
    execution puts in order, also where operations are marked; 0 draws one where none is marked, and with draw=1 also
    where some are. Where there is neither, each step is interesting, as in `urw`."""

    cdef uint64_t steps[MAX_TASKS]
    cdef uint64_t marks[MAX_TASKS]
    cdef bint selective
    cdef readonly uint64_t wanted
    cdef readonly bint draws
    cdef Place *place
    cdef uint64_t *visits
    cdef int places
    # Of this execution: the place that it puts in order (-1: none), how often each task came there, and whether tasks
    # are interrupted between two visits.
    cdef int now
    cdef uint64_t came[MAX_TASKS]
    cdef bint hops
    # How many interesting operations each task is expected to make; who makes the next one, and how many it had made
    # when it was drawn; -1 for nobody yet.
    cdef uint64_t *expected
    cdef int intended
    cdef uint64_t before

    def __init__(self, place=0, draw=0):
        if not 0 <= place < 1 << 63:
            raise ValueError(f"strategy surw: place must be from 0 to 2**63 - 1, not {place}")
        if draw not in (0, 1):
            raise ValueError(f"strategy surw: draw must be 0 or 1, not {draw}")
        self.wanted = place
        self.draws = draw
        self.sees_marks = True
        self.now = -1

    def __dealloc__(self):
        self.forget_places()

    cdef void forget_places(self):
        free(self.place)
        free(self.visits)
        self.place = NULL
        self.visits = NULL
        self.places = 0

    def profiled(self, steps, task_steps=(), task_marks=()):
        keep_counts(self.steps, task_steps)
        keep_counts(self.marks, task_marks)
        self.selective = any(task_marks)

    def surveyed(self, places):
        cdef int i
        cdef int j
        cdef int tasks
        self.forget_places()
        if self.wanted:
            places = [place for place in places if place.offset == self.wanted]
            if not places:
                raise ValueError(f"strategy surw: nothing that several tasks touch is at {self.wanted}")
        else:
            places = [place for place in places if place.under is None]
        if not places:
            return
        tasks = len(places[0].visits)
        self.place = <Place *>calloc(len(places), sizeof(Place))
        self.visits = <uint64_t *>calloc(len(places) * tasks, sizeof(uint64_t))
        if self.place == NULL or self.visits == NULL:
            raise MemoryError("no memory for the places of a profile")
        for i, place in enumerate(places):
            self.place[i].offset = place.offset
            self.place[i].visits = self.visits + i * tasks
            for j in range(tasks):
                self.place[i].visits[j] = place.visits[j]
        self.places = len(places)

    @property
    def drawn(self):
        return self.place[self.now].offset if 0 <= self.now < self.places else None

    cdef void begin(self, Execution *x) noexcept nogil:
        self.intended = -1
        self.now = -1
        self.expected = self.marks
        if self.places and (self.wanted or self.draws or not self.selective):
            self.now = rng_below(&x.rng, self.places)
            # Some races need that nobody comes between two visits, others that somebody does.
            self.hops = rng_below(&x.rng, 2)
            self.expected = self.place[self.now].visits
            memset(self.came, 0, x.tasks * sizeof(uint64_t))
        # A visit counts also where nobody else could have gone on.
        x.strategy.sees_forced = self.now >= 0
        x.strategy.sees_marks = self.now < 0

    cdef int pick(self, Execution *x, uint64_t *hold) noexcept nogil:
        return pick_one(self, x, hold, 1)

    cdef int pick_many(self, Execution *x, uint64_t *hold) noexcept nogil:
        return pick_one(self, x, hold, x.words)

    def clone(self):
        return Surw(self.wanted, self.draws)

    def parameters(self):
        return {"place": self.wanted, "draw": int(self.draws)}


cdef inline int pick_one(Surw self, Execution *x, uint64_t *hold, int words) noexcept nogil:
    cdef TaskSet held_back
    cdef TaskSet others
    cdef bint drawn = False
    cdef int i
    if self.now < 0 and not self.selective:
        return draw_by_steps(self, x, x.enabled, words)
    clear(held_back, words)
    copy(others, x.enabled, words)
    while anybody(others, words):
        i = pop(others, words)
        if interesting(self, x, i):
            add(held_back, i, words)
    if self.intended < 0 or has(x.done, self.intended, words) or made(self, x, self.intended) != self.before:
        copy(others, x.enabled, words)
        unite(others, x.blocked, words)
        intend(self, x, others, words)
        drawn = True
    if not beyond(x.enabled, held_back, words) and not has(held_back, self.intended, words):
        # The intended one waits for somebody who is held back.
        intend(self, x, x.enabled, words)
    drop(held_back, self.intended, words)
    copy(others, x.enabled, words)
    take_away(others, held_back, words)
    if self.now < 0:
        # To its next interesting operation, where this is asked again; made, that one needs a new intention.
        i = any_of(x, others, words)
        hold[0] = 1 if x.task[i].interesting else NEVER
        return i
    if self.hops:
        i = draw_by_steps(self, x, others, words)
    elif not drawn and x.current >= 0 and has(others, x.current, words):
        i = x.current
    else:
        i = any_of(x, others, words)
    self.came[i] += interesting(self, x, i)
    return i


cdef inline bint interesting(Surw self, Execution *x, int task) noexcept nogil:
    """Whether what a task announces is marked, or a visit to the place that was drawn."""
    cdef Task *t = &x.task[task]
    if self.now < 0:
        return t.interesting
    if <uint64_t>t.object - <uint64_t>x.arena.base != self.place[self.now].offset:
        return False
    return not gives_back(t.op) and t.op != OP_START and t.op != OP_AWAIT


cdef inline uint64_t made(Surw self, Execution *x, int task) noexcept nogil:
    """How many interesting operations a task has made."""
    return self.came[task] if self.now >= 0 else x.task[task].marks - x.task[task].interesting


cdef inline void intend(Surw self, Execution *x, const uint64_t *tasks, int words) noexcept nogil:
    """One of `tasks` by what it has left. One that has had all it was expected to have counts where it stands at one
    more."""
    cdef uint64_t weight[MAX_TASKS]
    cdef uint64_t total = 0
    cdef TaskSet rest
    cdef int i
    copy(rest, tasks, words)
    while anybody(rest, words):
        i = pop(rest, words)
        weight[i] = 0
        if interesting(self, x, i) or made(self, x, i) < self.expected[i]:
            weight[i] = left(self.expected[i], made(self, x, i))
        total += weight[i]
    self.intended = draw_by_weight(x, tasks, weight, words) if total else any_of(x, tasks, words)
    self.before = made(self, x, self.intended)


cdef inline int draw_by_steps(Surw self, Execution *x, const uint64_t *tasks, int words) noexcept nogil:
    """One of `tasks` by the steps that it has left."""
    cdef uint64_t weight[MAX_TASKS]
    cdef TaskSet rest
    cdef int i
    copy(rest, tasks, words)
    while anybody(rest, words):
        i = pop(rest, words)
        weight[i] = left(self.steps[i], steps_of(x, i))
    return draw_by_weight(x, tasks, weight, words)
