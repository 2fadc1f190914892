"""Source-set DPOR with sleep sets, as a strategy that chooses one class after the other (see races.pyx for the source).

With a bound it is a plain search instead: every schedule in which at most so many tasks were interrupted although they
could have gone on (Musuvathi, Qadeer, "Iterative Context Bounding", PLDI 2007), or with at most so many delays (Emmi,
Qadeer, Rakamaric, POPL 2011). To leave out schedules of one class would be wrong there, because the one that is kept
may need more preemptions than another.

Between two executions the stack says what comes next: the first `prefix` steps are to be made again, the last of them
another than before. So a search can be cut there: `shed` gives a part of what is left away, `dump` writes all of it
down, and `load` goes on with either, here or in another explorer.
"""

cimport cython
from libc.stdint cimport int32_t, uint64_t
from libc.stdlib cimport free, malloc

from anonvma_rt.engine.base.grow cimport grow
from anonvma_rt.engine.base.os cimport rt_unlikely
from anonvma_rt.engine.base.tasks cimport TaskSet, add, anybody, bits_of, clear, copy, drop, from_bits, has, lowest
from anonvma_rt.engine.base.operation cimport MAX_TASKS, OP_START
from anonvma_rt.engine.base.rng cimport mix64
from anonvma_rt.engine.order.chains cimport chained, class_of, first_chain, untouched
from anonvma_rt.engine.order.classes cimport BY_ALL, BY_NONE
from anonvma_rt.engine.search.delayed cimport late_chain
from anonvma_rt.engine.search.races cimport explore_too, reverse_with_all
from anonvma_rt.engine.search.search cimport search_place, search_pop, search_state, search_step, search_waiting
from anonvma_rt.engine.search.stack cimport (
    BACKTRACK, ENABLED, ESCAPED, EXPLORED, FAILED, RESTLESS, SLEEP, Link, Search, Step, op_of, search_clear,
    search_close, search_open, search_room, set_at, untried,
)
from anonvma_rt.engine.run.strategy cimport Strategy
from anonvma_rt.engine.run.task cimport (
    HALT_EXIT, HALT_NO_MEMORY, HALT_NONE, HALT_PRUNED, HALT_STOPPED, HALT_VIOLATION, Execution, Segment, cut_by,
)

cdef enum:
    LONGEST = 1 << 24  # steps of an execution that can be searched


@cython.final
cdef class Dpor(Strategy):
    """`dpor`: not for hunting; verify drives it until it is `exhausted`.

    preemptions, delays: of an execution at most; one of them, or none. `limited` says whether that left anything out.
    until_found: the search ends with the first violation (`ended`); its schedule is kept either way. An execution that
    is given up because every continuation belongs to a class that was seen ends with HALT_PRUNED.

    A state is known by the tasks that were chosen on the way to it. What load() takes and dump() gives is a dict:
    `tasks`, those of the execution to be made next, as far as it is decided; `explored` and `backtrack`, for each of
    them who was and who is to be explored in the state before it; `sleep`, who sleeps in state `root` - 1; the first
    `root` states belong to somebody else. All sets are bits.
    """

    def __cinit__(self, *args, **kwargs):
        search_open(&self.s)

    def __init__(self, preemptions=None, until_found=False, delays=None):
        if preemptions is not None and delays is not None:
            raise ValueError("a search has one bound: preemptions or delays")
        self.s.by_delays = delays is not None
        bound = delays if self.s.by_delays else preemptions
        if bound is not None and not 0 <= bound <= LONGEST:
            what = "delays" if self.s.by_delays else "preemptions"
            raise ValueError(f"{what} must be from 0 to {LONGEST}, not {bound}")
        self.sees_forced = True
        self.keeps_lease = True
        self.s.bound = -1 if bound is None else bound
        self.until_found = until_found

    def __dealloc__(self):
        search_close(&self.s)
        free(self.found)
        free(self.ending)
        free(self.exit)
        free(self.link)

    def clone(self):
        bound = self.s.bound if self.s.bound >= 0 else None
        return Dpor(None, self.until_found, bound) if self.s.by_delays else Dpor(bound, self.until_found)

    cdef void attach(self, Execution *x):
        Strategy.attach(self, x)
        x.strategy.pick = <int (*)(void *, Execution *, uint64_t *) noexcept nogil>pick
        x.strategy.finished = <void (*)(void *, Execution *) noexcept nogil>finished
        x.strategy.cuts_spins = True
        if self.s.tasks != x.tasks or self.s.bodies != x.bodies:
            search_clear(&self.s, x.tasks, x.bodies)
            self.loaded = 0
            self.hashed = 0

    @property
    def limited(self):
        return self.s.limited

    @property
    def found_schedule(self):
        """The schedule of the first violation that was met: (task, steps) one after the other."""
        return [(self.found[i].task, self.found[i].steps) for i in range(self.n_found)]

    def load(self, part):
        """Forgets everything and goes on with `part`. The explorer must have as many tasks as the one that it is
        from."""
        cdef Search *s = &self.s
        cdef int32_t i
        tasks, root = part["tasks"], part["root"]
        if not 0 <= root <= len(tasks) <= LONGEST or not all(0 <= task < self.s.tasks for task in tasks):
            raise ValueError("not a part of this search")
        search_clear(&self.s, self.s.tasks, self.s.bodies)
        if tasks and search_room(&self.s, <int32_t>len(tasks)) < 0:
            raise MemoryError("no memory for a search")
        for i in range(<int32_t>len(tasks)):
            s.step[i].task = tasks[i]
            from_bits(set_at(s, i, EXPLORED, s.words), s.words, part["explored"][i])
            from_bits(set_at(s, i, BACKTRACK, s.words), s.words, part["backtrack"][i])
            clear(set_at(s, i, SLEEP, s.words), s.words)
            clear(set_at(s, i, ESCAPED, s.words), s.words)
            clear(set_at(s, i, RESTLESS, s.words), s.words)
        if root:
            from_bits(set_at(s, root - 1, SLEEP, s.words), s.words, part["sleep"])
        s.root = root
        s.prefix = len(tasks)
        self.loaded = 0
        self.hashed = 0
        self.exhausted = False

    def dump(self):
        """What is left of the search, between two executions."""
        cdef Search *s = &self.s
        cdef int32_t i
        tasks, explored, backtrack = [], [], []
        for i in range(s.prefix):
            tasks.append(s.step[i].task)
            explored.append(bits_of(set_at(s, i, EXPLORED, s.words), s.words))
            backtrack.append(bits_of(set_at(s, i, BACKTRACK, s.words), s.words))
        return {
            "tasks": tasks,
            "explored": explored,
            "backtrack": backtrack,
            "sleep": bits_of(set_at(s, s.root - 1, SLEEP, s.words), s.words) if s.root else 0,
            "root": s.root,
        }

    def escapes(self):
        """{depth: whom this search wants to be explored in that state of somebody else}, told once."""
        cdef Search *s = &self.s
        cdef int32_t i
        escaped = {}
        for i in range(s.root):
            if anybody(set_at(s, i, ESCAPED, s.words), s.words):
                escaped[i] = bits_of(set_at(s, i, ESCAPED, s.words), s.words)
                clear(set_at(s, i, ESCAPED, s.words), s.words)
        return escaped

    def shed(self):
        """Gives away the shallowest state in which something is left to try, and all above it.

        Returns None where there is none, or a list of (depth, enabled, sleep, explored, backtrack) of states that are
        somebody else's from now on. What this search goes on with counts as explored in them.
        """
        cdef Search *s = &self.s
        cdef TaskSet tasks
        cdef int32_t at = s.root
        cdef int32_t i
        if self.exhausted or self.loaded < s.prefix:
            return None
        while at < s.prefix:
            untried(s, at, tasks, s.words)
            drop(tasks, s.step[at].task, s.words)
            if anybody(tasks, s.words):
                break
            at += 1
        if at == s.prefix:
            return None
        given = []
        for i in range(s.root, at + 1):
            copy(tasks, set_at(s, i, EXPLORED, s.words), s.words)
            add(tasks, s.step[i].task, s.words)
            given.append((
                i,
                bits_of(set_at(s, i, ENABLED, s.words), s.words),
                bits_of(set_at(s, i, SLEEP, s.words), s.words),
                bits_of(tasks, s.words),
                bits_of(set_at(s, i, BACKTRACK, s.words), s.words),
            ))
        s.root = at + 1
        return given

    def endings(self):
        """The class of each violating execution since the last call, in order: several that differ in what others did
        meanwhile are of one (engine/order/classes). None are told where the search ends with the first."""
        classes = [self.ending[i] for i in range(self.n_endings)]
        self.n_endings = 0
        return classes

    def exits(self):
        """The same of those that a task ended for all without a violation, as exit() does."""
        classes = [self.exit[i] for i in range(self.n_exits)]
        self.n_exits = 0
        return classes

    def tasks(self, depth):
        """Those that were chosen on the way to state `depth`."""
        return [self.s.step[i].task for i in range(depth)]

    cdef int reverse_waiting(self, Execution *x) noexcept nogil:
        """Who never made the operation it was about to make might have made it earlier, too. Also where the others
        sleep: what it waits for may be their operations that are explored elsewhere without it. -1: no memory."""
        cdef int i
        for i in range(self.s.tasks):
            # Whoever spins has made its last round.
            if has(x.completed, i, x.words) or has(x.rounds.spinning, i, x.words):
                continue
            if search_waiting(&self.s, x, i) < 0:
                return -1
        return 0

    cdef int32_t backtrack(self) noexcept nogil:
        """Takes steps back down to the deepest state with something left to try, and chooses that: the number of
        steps to make again, or 0 where nothing is left."""
        return back_apart(&self.s) if rt_unlikely(self.s.words > 1) else back(&self.s, 1)

    cdef int placed_again(self, Execution *x, int32_t at) noexcept nogil:
        """A state that was loaded: its sets are known, the rest is to be found out."""
        cdef Search *s = &self.s
        cdef int task = s.step[at].task
        cdef TaskSet explored
        cdef TaskSet backtrack
        cdef TaskSet sleep
        copy(explored, set_at(s, at, EXPLORED, s.words), s.words)
        copy(backtrack, set_at(s, at, BACKTRACK, s.words), s.words)
        copy(sleep, set_at(s, at, SLEEP, s.words), s.words)
        if search_state(s, x, at) < 0:
            x.halt = HALT_NO_MEMORY
            return -1
        copy(set_at(s, at, EXPLORED, s.words), explored, s.words)
        copy(set_at(s, at, BACKTRACK, s.words), backtrack, s.words)
        if at < s.root:
            copy(set_at(s, at, SLEEP, s.words), sleep, s.words)
        search_place(s, at, task)
        self.loaded = at + 1
        return task

    cdef int hash_steps(self) noexcept nogil:
        """The hashes of all steps that have none. -1: no memory."""
        cdef Search *s = &self.s
        cdef Step *e
        cdef Link *link
        cdef int32_t i
        if grow(<void **>&self.link, &self.link_room, s.n, sizeof(Link)) < 0:
            return -1
        for i in range(self.hashed, s.n):
            e = &s.step[i]
            link = &self.link[i]
            if s.each:
                link.chain = late_chain(s, self.link, i)
                continue
            link.chain = self.link[e.previous].chain if e.previous >= 0 else first_chain(e.task)
            if e.kind == OP_START:
                link.chain = mix64(link.chain)
                continue
            if e.before >= 0:
                link.seen = self.link[e.before].seen
            else:
                untouched(&link.seen)
            link.chain = chained(&link.seen, link.chain, op_of(e.kind), e.kind & FAILED != 0)
        self.hashed = s.n
        return 0

    cdef uint64_t ending_class(self, int by) noexcept nogil:
        """The class of the execution (engine/order/classes), whose steps are hashed."""
        cdef Search *s = &self.s
        cdef uint64_t chain[MAX_TASKS]
        cdef int32_t i
        for i in range(s.tasks):
            chain[i] = self.link[s.last_of[i]].chain if s.last_of[i] >= 0 else first_chain(i)
        return class_of(chain, s.tasks, by)

    cdef int keep_ending(self, Execution *x) noexcept nogil:
        """Remembers the class of an execution that violated something, or was ended for all. Where a step ended it, the
        others might have gone on before that step, and done worse: they are let. -1: no memory."""
        cdef Search *s = &self.s
        cdef int by = cut_by(x)
        if x.finding.kind == 0 and x.halt != HALT_EXIT or x.finding.kind and self.until_found:
            return 0
        if self.hash_steps() < 0:
            return -1
        if x.finding.kind == 0:
            if grow(<void **>&self.exit, &self.exits_room, self.n_exits + 1, sizeof(uint64_t)) < 0:
                return -1
            self.exit[self.n_exits] = self.ending_class(by)
            self.n_exits += 1
        else:
            if grow(<void **>&self.ending, &self.endings_room, self.n_endings + 1, sizeof(uint64_t)) < 0:
                return -1
            self.ending[self.n_endings] = self.ending_class(by)
            self.n_endings += 1
        if by != BY_NONE and s.n:
            explore_too(s, s.n - 1, set_at(s, s.n - 1, ENABLED, s.words))
        if by == BY_ALL and s.n:
            reverse_with_all(s, s.n - 1)
        return 0

    cdef void keep_found(self, Execution *x) noexcept nogil:
        """Remembers the schedule of the first violation."""
        cdef Segment *segments
        cdef int32_t i
        if self.found != NULL or self.s.n == 0:
            return
        segments = <Segment *>malloc(self.s.n * sizeof(Segment))
        if segments == NULL:
            return
        self.found = segments
        self.found_kind = x.finding.kind
        for i in range(self.s.n):
            if i and segments[self.n_found - 1].task == <uint64_t>self.s.step[i].task:
                segments[self.n_found - 1].steps += 1
            else:
                segments[self.n_found].task = <uint64_t>self.s.step[i].task
                segments[self.n_found].steps = 1
                self.n_found += 1


cdef int32_t back_of_many(Search *s) noexcept nogil:
    return back(s, s.words)


# By a pointer, or the compiler would make one code of both.
cdef int32_t (*back_apart)(Search *s) noexcept nogil
back_apart = back_of_many


cdef inline int32_t back(Search *s, int words) noexcept nogil:
    cdef TaskSet left
    while s.n > s.root:
        search_pop(s, s.n - 1)
        add(set_at(s, s.n, EXPLORED, words), s.step[s.n].task, words)
        if untried(s, s.n, left, words):
            search_place(s, s.n, lowest(left, words))
            return s.n
    return 0


cdef int pick(Dpor self, Execution *x, uint64_t *hold) noexcept nogil:
    cdef Search *s = &self.s
    cdef int32_t at = <int32_t>x.steps - 1
    if at < self.loaded:
        hold[0] = <uint64_t>(s.step[s.step[at].run].run_end - at)
        return s.step[at].task
    if self.exhausted or self.ended or at >= LONGEST:
        x.halt = HALT_STOPPED if at < LONGEST else HALT_NO_MEMORY
        return -1
    if at < s.prefix:
        return self.placed_again(x, at)
    return search_step(s, x, at)


cdef void finished(Dpor self, Execution *x) noexcept nogil:
    """On to the next class; or back to the beginning of this one, where the execution was not brought to its end."""
    cdef Search *s = &self.s
    if x.halt in (HALT_NONE, HALT_VIOLATION, HALT_EXIT, HALT_PRUNED):
        if x.finding.kind:
            self.keep_found(x)
            self.ended = self.until_found
        if s.bound >= 0 or (self.reverse_waiting(x) == 0 and self.keep_ending(x) == 0):
            s.prefix = self.backtrack()
            self.loaded = s.prefix
            self.hashed = min(self.hashed, s.prefix - 1) if s.prefix else 0
            self.exhausted = s.prefix == 0
            return
        x.halt = HALT_NO_MEMORY
    while s.n > s.prefix:
        search_pop(s, s.n - 1)
    self.hashed = min(self.hashed, s.n)
