/* What the lab gives to a program that it runs: the few operations of its scheduler on which everything else here stands.

   A program is linked with the files of this folder, which define pthread_mutex_lock, malloc and the rest under their own
   names, hidden, so that neither the C library's nor a header's inlined call ever reaches the real ones. `rt_host` is set
   by the lab when it has loaded the program. Only the task that has the baton runs, so nothing here is atomic.
*/

#ifndef ANONVMA_RT_HOST
#define ANONVMA_RT_HOST

#include <stddef.h>
#include <stdint.h>

/* Threads, and what is a task beside them: chances. Arrays that are brought back before each execution have only as many
   places as there are (rt_host->tasks). */
enum { RT_MOST_TASKS = 255 };

/* Of each task's stack, and of what lies below it and may not be touched. */
enum { RT_STACK_BYTES = 1 << 20, RT_STACK_GUARD = 1 << 16 };

/* What is a choice of the schedule: that a time is over before what is waited for came; that a waiter wakes for no reason;
   whatever the program asks for. A thread has a task for each kind, which says yes by running. */
enum { RT_CHANCE_LATE = 1, RT_CHANCE_SPURIOUS = 2, RT_CHANCE_OWN = 3 };

/* What a task that waits waits for: to be woken, the end of another. 0: something else. */
enum { RT_UNTIL_WOKEN = 1, RT_UNTIL_ENDED = 2 };

/* The operations that a task announces, with the numbers of engine/base/operation.pxd. */
enum rt_op {
    RT_LOCK = 1,
    RT_READ_LOCK = 2,
    RT_AWAIT = 4,
    RT_UNLOCK = 5,
    RT_READ_UNLOCK = 6,
    RT_TRYLOCK = 7,
    RT_LOAD = 8,
    RT_STORE = 9,
    RT_ATOMIC = 10,
    RT_READ_TRYLOCK = 12,
    RT_TAKE = 13
};

/* Of an access that is a step of its own, beside whether it writes. */
enum { RT_MARKED = 2, RT_TOLD = 4 };
#define RT_STEP(op) ((op) << 8)

enum rt_test { RT_EQUAL, RT_UNEQUAL, RT_LESS, RT_NOT_LESS, RT_BITS, RT_NO_BITS };

/* What can be wrong beside what the engine finds by itself. */
enum rt_wrong {
    RT_ASSERTION,
    RT_ABORT,
    RT_UNCAUGHT,
    RT_EXIT_CODE,
    RT_DOUBLE_FREE,
    RT_BAD_FREE,
    RT_DESTROYED,
    RT_BAD_CALL,
    RT_DATA_RACE,
    RT_OUT_OF_BOUNDS,
    RT_FREED,
    RT_LEAK,
    RT_DEAD_FRAME
};

/* A lock as the engine knows it: who holds it, how many share it, who waits there. All zero: nobody. */
typedef struct {
    uint8_t owner, readers, waiters, cls;
} rt_lock;

struct rt_host {
    void *x;
    /* The number of the task that runs. */
    int (*task)(void *x);
    /* Announces an operation and comes right before it. */
    void (*point)(void *x, int op, void *object);
    /* The operation has changed this: whoever waits there may be able to go on. */
    void (*changed)(void *x, void *object);
    /* Waits until a word is what `test` and `want` say; op: RT_AWAIT, or RT_TAKE where it is changed in the same step.
       timed: for some time at most, which is over when nobody else can go on. Returns whether the word is so. */
    int (*wait)(void *x, int op, int64_t *word, int test, int64_t want, int timed);
    /* Returns whether the task has the lock. */
    int (*acquire)(void *x, void *lock, int op, int timed);
    int (*try_acquire)(void *x, void *lock, int op);
    void (*release)(void *x, void *lock, int op);
    /* The thread gives way, or sleeps. Where it does so from one place again and again and changes nothing in between,
       it waits until nobody else can go on. */
    void (*rest)(void *x, const void *place);
    /* What the thread has at a look: where that is what it had at this place before, it goes round. */
    void (*round)(void *x, uint64_t state);
    /* Whether a chance is taken: RT_CHANCE_*; taken: how often it was taken by this thread. */
    int (*chance)(void *x, int kind, int taken);
    /* A number for a task that this one begins, which it does when its gate is not 0. Does not return where there is none
       left. */
    int (*begin)(void *x);
    /* The task that runs ends here. Does not return. */
    void (*leave)(void *x);
    void *(*allocate)(void *x, uint64_t size, uint64_t align);
    /* How many bytes a live object of the heap has; -1: freed; -2: no such object. */
    int64_t (*size_of)(void *x, void *object);
    /* Where the program asked for the object that was allocated last, which is its own. */
    void (*made)(void *x, void *place);
    void (*free)(void *x, void *object, void *place);
    /* Ends the execution. text: what is said; where: what it is about. Does not return. */
    void (*wrong)(void *x, int what, const void *text, const void *where, int64_t n);
    /* The process ends, with what main returned or exit was called with. Does not return. */
    void (*exit)(void *x, int code);
    /* The program asks for something that cannot be here. Does not return. */
    void (*refuse)(void *x, const char *call);
    /* An access to memory that the compiler reports, before it is made. how: 1 if it writes; of one that is a step of its
       own RT_MARKED beside that, and RT_STEP(op), which is announced here. Returns 1 where nothing is done yet, because
       round() is to be told first; then it is called again, with RT_TOLD. */
    int (*access)(void *x, void *p, uint64_t size, int how, void *place);
    void (*print)(void *x, const char *text, uint64_t n);
    /* No task has a number as large as this, in any interleaving. */
    int tasks;
    /* The atomic operation that was just announced has changed nothing: it was a look. */
    void (*missed)(void *x);
    /* What a program says of itself (anonvma_rt.h): its next operation is an interesting one; a line for the history; an
       operation of the object under test begins, with INT64_MIN where it has no argument, and has returned. */
    void (*mark)(void *x);
    void (*note)(void *x, const char *text, uint64_t n);
    void (*call)(void *x, const char *name, int64_t argument);
    void (*returns)(void *x, int64_t value);
};

#endif
