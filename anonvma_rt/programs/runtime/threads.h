/* The threads of a program: what each has of its own, by the number of its task. */

#ifndef ANONVMA_RT_THREADS
#define ANONVMA_RT_THREADS

#include "host.h"

struct rt_state {
    /* Not 0: somebody has begun it. Not 0: it has come to its end. Both are waited for. */
    int64_t gate, ended;
    /* RT_UNTIL_*: why it waits. */
    int asleep;
    void *(*run)(void *);
    void *argument, *result;
    int detached, joined, error;
    /* Of thread-local variables: their block, and what is called at the end. */
    void *block;
    struct rt_exit *exits;
    void **values;
    uint64_t draws, looks;
    /* How often it was late, and woke for no reason. */
    int late, woken;
    /* Whether it has asked for the time; and a word that never changes. */
    int asked;
    int64_t never;
    /* The signals that are blocked; no signal comes. */
    uint64_t blocked;
    /* Where its stack begins. */
    char *top;
    /* At a futex: the word (NULL: at none), what wakes it, when it came, and whether it was woken. */
    const void *futex;
    uint32_t bits;
    uint64_t came;
    int64_t woken_up;
};

/* rt_host->tasks of them, behind the program's globals: the lab puts them there. */
extern struct rt_state *rt_states;

/* Of the program's thread-local variables: what they begin as. */
extern const char *rt_tls_image;
extern uint64_t rt_tls_filled, rt_tls_size, rt_tls_align;

#endif
