"""The same execution with fewer switches: its steps in another order, in which all dependent operations keep theirs.

Such an order is an equivalent execution (relation.pxd), so one more run confirms what was found. Source of the idea:
dejafu (Walker and Runciman, "Deja Fu: A Concurrency Testing Library for Haskell", 2015), which simplifies traces by the
dependency relation. Here a state is how far each task has come, and a move lets one task go as far as it can, which
never costs a switch later; the fewest moves are found breadth first.
"""

from libc.stdint cimport int32_t, uint32_t
from libc.stdlib cimport calloc, free

from anonvma_rt.engine.order.clocks cimport clock_inherit, clock_join
from anonvma_rt.engine.order.relation cimport CHANGES, Group, group_of, groups_depend
from anonvma_rt.engine.base.operation cimport MAX_TASKS, OP_NOTE, OP_START, Event

cdef enum:
    # A longer execution is left as it is: what is kept of one is a number for each of its steps and tasks.
    MOST_STEPS = 1 << 18
    # So many states of one depth are followed; where there are more, those that have come farthest.
    WIDEST = 256

cdef struct Step:
    int32_t task
    int32_t op
    # How many steps its task had made before, and which step came before it on the same object (-1: none).
    int32_t made
    int32_t before


cdef inline Group announced(Step *s) noexcept nogil:
    """Whether a try failed is not recorded: one that did counts as one that did not, which depends on more."""
    return group_of(s.op, False)


cdef class Order:
    """Which steps of a recorded execution must come before which.

    events: as Explorer.trace() returns them; tasks: how many the subject has. A step in which nobody could go on has no
    event and does not count. `steps` is 0 where the execution is too long.
    """

    cdef readonly int tasks
    cdef readonly int steps
    cdef Step *step
    # The clock of each step (clocks.pxd), in steps of each task.
    cdef uint32_t *clock
    # The steps of task t, in order, are own[first[t]] to own[first[t + 1] - 1].
    cdef int32_t *own
    cdef int32_t first[MAX_TASKS + 1]

    def __init__(self, const unsigned char[::1] events, int tasks):
        cdef size_t n = events.shape[0] // sizeof(Event)
        cdef const Event *event = <const Event *>&events[0] if n else NULL
        cdef size_t i
        cdef size_t points = 0
        for i in range(n):
            points += event[i].op != OP_NOTE
        self.tasks = tasks
        if points > MOST_STEPS:
            return
        self.step = <Step *>calloc(points + 1, sizeof(Step))
        self.clock = <uint32_t *>calloc(points * tasks + 1, sizeof(uint32_t))
        self.own = <int32_t *>calloc(points + 1, sizeof(int32_t))
        if self.step == NULL or self.clock == NULL or self.own == NULL:
            raise MemoryError()
        self.read(event, n)

    def __dealloc__(self):
        free(self.step)
        free(self.clock)
        free(self.own)

    cdef int read(self, const Event *event, size_t n) except -1:
        cdef dict last = {}
        cdef int32_t made[MAX_TASKS]
        cdef int32_t at[MAX_TASKS]
        cdef size_t i
        cdef int t
        cdef Step *s
        for t in range(self.tasks):
            made[t] = 0
        for i in range(n):
            if event[i].op == OP_NOTE:
                continue
            s = &self.step[self.steps]
            s.task = event[i].task
            s.op = event[i].op
            s.made = made[s.task]
            s.before = -1
            made[s.task] += 1
            if s.op != OP_START:
                s.before = last.get(event[i].a, -1)
                last[event[i].a] = self.steps
            self.steps += 1
        self.first[0] = 0
        for t in range(self.tasks):
            at[t] = self.first[t]
            self.first[t + 1] = self.first[t] + made[t]
        for i in range(<size_t>self.steps):
            self.own[at[self.step[i].task]] = <int32_t>i
            at[self.step[i].task] += 1
            self.set_clock(<int32_t>i)
        return 0

    cdef uint32_t *clock_of(self, int task, uint32_t made) noexcept nogil:
        """The clock with which a task has made so many steps; NULL: none."""
        return &self.clock[<size_t>self.own[self.first[task] + made - 1] * self.tasks] if made else NULL

    cdef void set_clock(self, int32_t i) noexcept nogil:
        """The clock of step i, from those of the steps before it."""
        cdef Step *s = &self.step[i]
        cdef uint32_t *clock = &self.clock[<size_t>i * self.tasks]
        cdef int32_t j = s.before
        clock_inherit(clock, self.clock_of(s.task, s.made), self.tasks)
        while j >= 0:
            if self.step[j].task != s.task and groups_depend(announced(s), announced(&self.step[j])):
                clock_join(clock, &self.clock[<size_t>j * self.tasks], self.tasks)
            if announced(&self.step[j]) == CHANGES:
                break
            j = self.step[j].before
        clock[s.task] = <uint32_t>s.made + 1

    cdef uint32_t farthest(self, tuple made, int task, uint32_t goal):
        """How many steps `task` has made when it can go no further, where each task has made so many."""
        cdef uint32_t low = made[task]
        cdef uint32_t high = goal
        cdef uint32_t middle
        cdef uint32_t *clock
        cdef int t
        while low < high:
            middle = (low + high + 1) // 2
            clock = self.clock_of(task, middle)
            for t in range(self.tasks):
                if t != task and clock[t] > <uint32_t>made[t]:
                    high = middle - 1
                    break
            else:
                low = middle
        return low

    def past(self):
        """How many steps of each task must come before the last one of the execution, itself included."""
        return tuple(self.clock[<size_t>(self.steps - 1) * self.tasks + t] for t in range(self.tasks))

    def whole(self):
        """How many steps each task makes."""
        return tuple(self.first[t + 1] - self.first[t] for t in range(self.tasks))

    def cuts(self, tuple goal):
        """An equivalent order with few switches, up to where each task has made so many steps as `goal` says (past() or
        whole()): (task, number of its steps) one after the other, as the strategy `cuts` takes them."""
        cdef int task
        start = (0,) * self.tasks
        level, came = [start], {start: None}
        while level and goal not in came:
            reached = []
            for made in level:
                for task in range(self.tasks):
                    upto = self.farthest(made, task, goal[task])
                    if upto == made[task]:
                        continue
                    after = made[:task] + (upto,) + made[task + 1 :]
                    if after not in came:
                        came[after] = (made, task)
                        reached.append(after)
            if len(reached) > WIDEST:
                reached = sorted(reached, key=lambda made: (-sum(made), made))[:WIDEST]
            level = reached
        cuts = []
        while goal in came and came[goal] is not None:
            before, task = came[goal]
            cuts.append((task, goal[task]))
            goal = before
        return cuts[::-1]
