"""Bodies that go wrong: each in the way that the parameter `how` says, in one of two tasks that share a word."""

from libc.stdint cimport int64_t
from libc.stdlib cimport abort, exit
from posix.unistd cimport usleep

from anonvma_rt.api cimport (
    VIOLATION_SUBJECT, Execution, Subject, Task, arena_alloc, arena_free, arena_root, compare_exchange, fetch_add, load,
    lock_init, mutex_lock, mutex_t, mutex_unlock, require_api, spin_hint, spin_start, store, violate,
)

require_api(__name__)

cdef extern from *:
    """
    #include <fcntl.h>
    #include <pthread.h>
    #include <signal.h>
    #include <stdlib.h>
    #include <unistd.h>
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static void lock_mutex(void) { pthread_mutex_lock(&mutex); }
    static void unlock_mutex(void) { pthread_mutex_unlock(&mutex); }
    static int sum_below(volatile int *p, int depth)
    { volatile char room[4096]; room[depth % 4096] = 1; return depth ? sum_below(p, depth - 1) + room[0] + *p : 0; }
    static void illegal(void) { __builtin_trap(); }
    /* A file named by $SPINS says that it has begun. */
    static void spin_for_ever(void)
    { const char *sign = getenv("SPINS"); if (sign) close(creat(sign, 0600)); for (;;) __asm__ volatile(""); }
    static void misread(void *p) { *(volatile char *)p = 1; }
    static int divide(int a, int b) { return a / b; }
    """
    void lock_mutex() noexcept nogil
    void unlock_mutex() noexcept nogil
    int sum_below(int *p, int depth) noexcept nogil
    void illegal() noexcept nogil
    void spin_for_ever() noexcept nogil
    void misread(void *p) noexcept nogil
    int divide(int a, int b) noexcept nogil

WAYS = (
    "nothing", "null", "poison", "divide", "illegal", "abort", "deep", "loop", "mutex", "check-null", "check-loop",
    "build-null", "exit", "slow", "static", "points", "late-static",
    "static-crash", "much-stack",
)

cdef int64_t calls = 0


def reset():
    """Forgets how often somebody went wrong."""
    global calls
    calls = 0


cdef struct shared:
    int64_t word
    shared *next


cdef class Trouble(Subject):
    """two tasks, one of which goes wrong if it comes second"""

    parameters = {"how": {"default": 0, "min": 0, "max": len(WAYS) - 1}, "always": False}
    cdef int how
    cdef bint always

    def __init__(self, how=0, always=False):
        self.tasks = 2
        self.how = WAYS.index(how) if isinstance(how, str) else how
        self.always = always

    cdef int build(self, Task *t) noexcept nogil:
        cdef shared *s = <shared *>arena_alloc(&t.x.arena, sizeof(shared), 1)
        s.word = 0
        s.next = <shared *>arena_alloc(&t.x.arena, sizeof(shared), 1)
        if self.how == 11:
            misread(NULL)
        return 0

    cdef void body(self, Task *t) noexcept nogil:
        cdef shared *s = <shared *>arena_root(&t.x.arena)
        cdef shared *n = s.next
        if self.how == 8:
            lock_mutex()
        if load(t, &s.word) == 0 and not self.always:
            store(t, &s.word, 1)
        elif t.id == 1:
            go_wrong(self.how, t, n)
        if self.how == 8:
            unlock_mutex()

    cdef void check(self, Execution *x) noexcept nogil:
        if self.how == 9:
            misread(NULL)
        elif self.how == 10:
            spin_for_ever()


cdef void go_wrong(int how, Task *t, shared *n) noexcept nogil:
    global calls
    cdef int zero = 0
    if how == 1:
        misread(NULL)
    elif how == 2:
        n.next = n
        arena_free(&t.x.arena, n)
        n.next.word = 1
    elif how == 3:
        n.word = divide(1, zero)
    elif how == 4:
        illegal()
    elif how == 5:
        abort()
    elif how == 6:
        n.word = sum_below(&zero, 1 << 24)
    elif how == 7:
        spin_for_ever()
    elif how == 12:
        exit(0)
    elif how == 13:
        usleep(1500000)
    elif how == 14:
        calls += 1
        if calls % 2:
            fetch_add(t, &n.word, 1)
    elif how == 15:
        while load(t, &n.word) == 0:
            pass
    elif how == 16:
        calls += 1
        if calls > 30:
            fetch_add(t, &n.word, calls % 2)
            if calls % 2:
                fetch_add(t, &n.word, 1)
    elif how == 17:
        calls += 1
        if calls == 100:
            misread(NULL)
    elif how == 18:
        n.word = sum_below(&zero, 300)


class Patient(Trouble):
    """the same, for whom nobody waits in vain"""

    patience = 0


cdef struct queue:
    int64_t lock
    int64_t inside
    int64_t sum
    int64_t stop


cdef class Spinlock(Subject):
    """a lock of compare_exchange and spin_hint, whose holders count to 2; at worst nobody ever gives it back"""

    parameters = {
        "tasks": {"default": 2, "min": 1, "max": 4},
        "hint": True,
        "first": False,
        "keep": False,
        "mutex": False,
        "points": {"default": 0, "min": 0, "max": 9},
    }
    cdef bint hint, first, keep, mutex
    cdef int points

    def __init__(self, tasks=2, hint=True, first=False, keep=False, mutex=False, points=0):
        self.tasks = tasks
        self.hint = hint
        self.first = first
        self.keep = keep
        self.mutex = mutex
        self.points = points

    cdef int build(self, Task *t) noexcept nogil:
        cdef queue *q = <queue *>arena_alloc(&t.x.arena, sizeof(queue), 1)
        cdef mutex_t *m = <mutex_t *>arena_alloc(&t.x.arena, sizeof(mutex_t), 2)
        q.lock = q.inside = q.sum = 0
        q.stop = <int64_t>m
        lock_init(m, 0)
        return 0

    cdef void body(self, Task *t) noexcept nogil:
        cdef queue *q = <queue *>arena_root(&t.x.arena)
        cdef int i
        if self.mutex:
            mutex_lock(t, <mutex_t *>q.stop)
        else:
            spin_start(t)
            while not ((not self.first or load(t, &q.lock) == 0) and compare_exchange(t, &q.lock, 0, 1)):
                if self.hint:
                    spin_hint(t)
        q.inside += 1
        if q.inside > 1:
            violate(t, VIOLATION_SUBJECT, 0, 0, 0)
        for i in range(self.points):
            fetch_add(t, &q.sum, 1)
        q.inside -= 1
        if self.mutex:
            mutex_unlock(t, <mutex_t *>q.stop)
        elif not self.keep:
            store(t, &q.lock, 0)

    def kinds(self):
        return {**Subject.kinds(self), VIOLATION_SUBJECT: "both-inside"}
