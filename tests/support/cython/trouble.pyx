"""Bodies that go wrong: each in the way that the parameter `how` says, in one of two tasks that share a word."""

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport abort, exit, malloc
from posix.unistd cimport usleep

from anonvma_rt.api cimport (
    Execution, Subject, Task, arena_alloc, arena_free, arena_root, fetch_add, load, require_api, store,
)

require_api(__name__)

cdef extern from *:
    """
    #include <pthread.h>
    #include <signal.h>
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static void lock_mutex(void) { pthread_mutex_lock(&mutex); }
    static void unlock_mutex(void) { pthread_mutex_unlock(&mutex); }
    static int sum_below(volatile int *p, int depth)
    { volatile char room[4096]; room[depth % 4096] = 1; return depth ? sum_below(p, depth - 1) + room[0] + *p : 0; }
    static void illegal(void) { __builtin_trap(); }
    static void spin_for_ever(void) { for (;;) __asm__ volatile(""); }
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
    "build-null", "exit", "slow", "static", "points", "violate-in-check",
)

cdef int64_t calls = 0

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
        global calls
        cdef shared *s = <shared *>arena_root(&t.x.arena)
        cdef shared *n = s.next
        cdef int zero = 0
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


class Patient(Trouble):
    """the same, for whom nobody waits in vain"""

    patience = 0
