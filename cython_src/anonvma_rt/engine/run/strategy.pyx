"""The interface of a strategy (see strategy.pxd), and how the engine calls it from a thread without the GIL."""

from libc.stdint cimport uint64_t


cdef class Strategy:
    """Chooses who makes the next step.

    A subclass overrides two nogil methods. `begin(x)` is called before each execution, when x.rng is freshly seeded.
    `pick(x, hold)` returns an enabled task (is_enabled, next_enabled, nth_enabled) for step x.steps, and may set
    hold[0] to the number of steps for which the answer stays good: it is asked again after that many, and earlier only
    if the set of enabled tasks changes. x.current is the task that made the last step (-1 at the start); x.task[i].op
    and .object are what each task is about to do. A strategy with `sees_forced` is asked even where one task only is
    enabled; one with `sees_marks` wherever a task announces an interesting operation (x.task[i].interesting), whatever
    its lease; one that `keeps_lease` is not asked again where the set of enabled tasks changes and the running one is
    still in it. All randomness comes from x.rng, so that an execution depends on nothing but its seed and its index.
    `clone()` gives an explorer of its own a fresh instance with the same parameters.
    """

    def __cinit__(self, *args, **kwargs):
        self.name = type(self).__name__.lower()

    cdef void begin(self, Execution *x) noexcept nogil:
        pass

    cdef int pick(self, Execution *x, uint64_t *hold) noexcept nogil:
        return -1

    cdef int pick_many(self, Execution *x, uint64_t *hold) noexcept nogil:
        """pick(), where there are more tasks than one word of a set holds."""
        return self.pick(x, hold)

    def clone(self):
        raise NotImplementedError(f"{type(self).__name__}.clone")

    def parameters(self):
        """The parameters by name, as the reproducer stores them."""
        return {}

    @property
    def failure(self):
        """Why it could not decide: the exception that ended the last execution, or None."""
        return None

    def profiled(self, steps, task_steps=(), task_marks=()):
        """Told before the first execution what the profile found: the number of steps of a long execution, the steps of
        each task, and how many interesting operations (mark) each has."""

    @property
    def epoch(self):
        """How many executions, from a multiple of that number on, may depend on each other: 1 where each depends on its
        seed and its index alone."""
        return 1

    def surveyed(self, places):
        """Told after profiled() where the order of the tasks can matter: records.Place of each."""

    @property
    def drawn(self):
        """The offset of the place whose visits the last execution put in order, None where there was none."""
        return None

    def catch_up(self, explorer, first):
        """Makes the executions that this strategy has to see before execution `first`, on its idle explorer. Most need
        none: then an execution depends on its seed and its index alone."""

    def fitting(self, first, size):
        """How many executions from `first` on to hand out where about `size` are wanted."""
        return size

    def guarantee(self, tasks):
        """What is proved of the probability that an execution of `tasks` tasks shows a bug: a dict, or None where
        nothing is."""
        return None

    cdef void attach(self, Execution *x):
        """Makes this the strategy of x; the caller keeps the reference."""
        x.strategy.self = <void *>self
        x.strategy.sees_forced = self.sees_forced
        x.strategy.sees_marks = self.sees_marks
        x.strategy.keeps_lease = self.keeps_lease
        x.strategy.begin = <void (*)(void *, Execution *) noexcept nogil>call_begin
        x.strategy.pick = <int (*)(void *, Execution *, uint64_t *) noexcept nogil>call_pick
        if x.words > 1:
            x.strategy.pick = <int (*)(void *, Execution *, uint64_t *) noexcept nogil>call_pick_many
        x.strategy.finished = NULL
        x.strategy.cuts_spins = False


cdef void call_begin(Strategy strategy, Execution *x) noexcept nogil:
    strategy.begin(x)


cdef int call_pick(Strategy strategy, Execution *x, uint64_t *hold) noexcept nogil:
    return strategy.pick(x, hold)


cdef int call_pick_many(Strategy strategy, Execution *x, uint64_t *hold) noexcept nogil:
    return strategy.pick_many(x, hold)
