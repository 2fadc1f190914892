"""A compiled program in this process: where its memory lies, and the entries by which the lab calls it."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from anonvma_rt.engine.base.arena cimport Arena
from anonvma_rt.engine.run.task cimport Execution

cdef extern from "host.h":
    enum: RT_MOST_TASKS, RT_MARKED, RT_TOLD, RT_STACK_BYTES, RT_STACK_GUARD, RT_UNTIL_WOKEN
    enum: RT_CHANCE_LATE, RT_CHANCE_SPURIOUS, RT_CHANCE_OWN
    enum rt_wrong: RT_EXIT_CODE, RT_DOUBLE_FREE, RT_BAD_FREE, RT_DATA_RACE, RT_OUT_OF_BOUNDS, RT_FREED, RT_LEAK, \
        RT_DEAD_FRAME
    enum rt_op: RT_LOCK, RT_READ_LOCK, RT_AWAIT, RT_UNLOCK, RT_READ_UNLOCK, RT_TRYLOCK, RT_LOAD, RT_STORE, RT_ATOMIC, \
        RT_READ_TRYLOCK, RT_TAKE
    struct rt_host:
        void *x
        int (*task)(void *x) noexcept nogil
        void (*point)(void *x, int op, void *object) noexcept nogil
        void (*changed)(void *x, void *object) noexcept nogil
        int (*wait)(void *x, int op, int64_t *word, int test, int64_t want, int timed) noexcept nogil
        int (*acquire)(void *x, void *lock, int op, int timed) noexcept nogil
        int (*try_acquire)(void *x, void *lock, int op) noexcept nogil
        void (*release)(void *x, void *lock, int op) noexcept nogil
        void (*rest)(void *x, const void *place) noexcept nogil
        void (*round)(void *x, uint64_t state) noexcept nogil
        int (*chance)(void *x, int kind, int taken) noexcept nogil
        int (*begin)(void *x) noexcept nogil
        void (*leave)(void *x) noexcept nogil
        void *(*allocate)(void *x, uint64_t size, uint64_t align) noexcept nogil
        int64_t (*size_of)(void *x, void *object) noexcept nogil
        void (*made)(void *x, void *place) noexcept nogil
        void (*free)(void *x, void *object, void *place) noexcept nogil
        void (*wrong)(void *x, int what, const void *text, const void *where, int64_t n) noexcept nogil
        void (*exit)(void *x, int code) noexcept nogil
        void (*refuse)(void *x, const char *call) noexcept nogil
        int (*access)(void *x, void *p, uint64_t size, int how, void *place) noexcept nogil
        void (*print)(void *x, const char *text, uint64_t n) noexcept nogil
        int tasks
        void (*missed)(void *x) noexcept nogil
        void (*mark)(void *x) noexcept nogil
        void (*note)(void *x, const char *text, uint64_t n) noexcept nogil
        void (*call)(void *x, const char *name, int64_t argument) noexcept nogil
        void (*returns)(void *x, int64_t value) noexcept nogil

cdef extern from "threads.h":
    struct rt_state:
        int64_t gate
        int64_t never
        int asleep
        void *block
        void **values

# Addresses in the loaded program. base: where its changing memory begins, a page that is the lab's; end: behind it.
cdef struct Entries:
    char *base
    char *end
    rt_host **host
    # The table of its tasks, which the lab makes.
    rt_state **thread
    void (*construct)() noexcept nogil
    void (*body)(int task, int argc, char **argv, char *stack) noexcept nogil

cdef class Image:
    cdef Entries at
    # What the memory held when the program had just been loaded.
    cdef char *pristine
    cdef uint64_t reserved
    cdef void *handle
    # One for each task: a guard, and the stack above it.
    cdef char *stacks
    cdef readonly str path
    # Whether an explorer has it.
    cdef public bint used

    # How many of the stacks were made.
    cdef int n_stacks
    # So many places has the table of tasks.
    cdef int tasks

    cdef int take(self, Arena *arena, int tasks) except -1
    cdef char *stack_of(self, int task) noexcept nogil
    cdef bint lost_wakeup(self, Execution *x) noexcept nogil
