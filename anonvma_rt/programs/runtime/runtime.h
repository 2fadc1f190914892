/* What the files of this folder have in common: the host's operations, and what each thread has of its own, by the number
   of its task. */

#ifndef ANONVMA_RT_RUNTIME
#define ANONVMA_RT_RUNTIME

#include "threads.h"

struct timespec;

extern struct rt_host *rt_host;

/* Of the task that runs: a number from 0 on, and its place in every array of this folder. */
static inline int rt_task(void) { return rt_host->task(rt_host->x); }
static inline void rt_point(int op, void *object)
{
    /* An address that nobody can use is the fault of whoever announces it: it shows here, and not in the lab. */
    (void)*(volatile char *)object;
    rt_host->point(rt_host->x, op, object);
}
static inline void rt_changed(void *object) { rt_host->changed(rt_host->x, object); }
static inline void rt_wait(int op, int64_t *word, int test, int64_t want)
{ rt_host->wait(rt_host->x, op, word, test, want, 0); }
static inline void rt_acquire(rt_lock *lock, int op) { rt_host->acquire(rt_host->x, lock, op, 0); }
static inline int rt_try(rt_lock *lock, int op) { return rt_host->try_acquire(rt_host->x, lock, op); }
static inline void rt_release(rt_lock *lock, int op) { rt_host->release(rt_host->x, lock, op); }
static inline void rt_wrong(int what, const void *text, const void *where, int64_t n)
{ rt_host->wrong(rt_host->x, what, text, where, n); }

/* The runtime is about to write there for the program, which no compiler tells. */
static inline void rt_writes(void *p, uint64_t size)
{ rt_host->access(rt_host->x, p, size, 1, __builtin_return_address(0)); }

static inline struct rt_state *rt_self(void) { return &rt_states[rt_task()]; }

/* time.c. Whether a wait that ends at this time is given up at once, because the time is over. Else it is in time, or
   lasts until nobody else can go on: rt_was_late() then, which returns ETIMEDOUT. */
int rt_is_late(const struct timespec *until);
int rt_is_late_now(void);
int rt_was_late(const struct timespec *until);
int rt_bad_time(const struct timespec *until);
/* library.c. How often anybody has read an option of main's, which is told nobody; and the beginning of an execution. */
extern uint64_t rt_options_read;
void rt_forget_options(void);
/* round.c. Tells the lab what the thread has. */
void rt_tell_round(const void *frame);

#endif
