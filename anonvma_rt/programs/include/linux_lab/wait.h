/* Wait queues and completions.

   A sleeper is on the queue's list and goes on when a wake-up makes it run; a wake-up that comes when nobody is on the list
   is lost, as in the kernel. Whether a wait with a timeout is late is a choice of the schedule. */

#ifndef ANONVMA_RT_LINUX_WAIT
#define ANONVMA_RT_LINUX_WAIT

#pragma GCC system_header

#include "list.h"
#include "tasks.h"

struct wait_queue_entry;
typedef int (*wait_queue_func_t)(struct wait_queue_entry *, unsigned, int, void *);
typedef struct wait_queue_entry {
    unsigned flags;
    void *private;
    wait_queue_func_t func;
    struct list_head entry;
} wait_queue_entry_t, wait_queue_t;
typedef struct wait_queue_head {
    spinlock_t lock;
    struct list_head head;
} wait_queue_head_t;

#define WQ_FLAG_EXCLUSIVE 1
#define __WAIT_QUEUE_HEAD_INITIALIZER(name) { { 0 }, { &(name).head, &(name).head } }
#define DECLARE_WAIT_QUEUE_HEAD(name) wait_queue_head_t name = __WAIT_QUEUE_HEAD_INITIALIZER(name)
#define DECLARE_WAIT_QUEUE_HEAD_ONSTACK(name) DECLARE_WAIT_QUEUE_HEAD(name)
LAB_USUAL void init_waitqueue_head(wait_queue_head_t *q) { spin_lock_init(&q->lock); INIT_LIST_HEAD(&q->head); }

LAB_USUAL int default_wake_function(struct wait_queue_entry *w, unsigned mode, int flags, void *key)
{ (void)mode, (void)flags, (void)key; return wake_up_process(w->private); }
LAB_USUAL int autoremove_wake_function(struct wait_queue_entry *w, unsigned mode, int flags, void *key)
{
    int woken = default_wake_function(w, mode, flags, key);
    if (woken)
        list_del_init(&w->entry);
    return woken;
}

#define DEFINE_WAIT_FUNC(name, function) \
    struct wait_queue_entry name = { 0, current, function, { &name.entry, &name.entry } }
#define DEFINE_WAIT(name) DEFINE_WAIT_FUNC(name, autoremove_wake_function)
#define DECLARE_WAITQUEUE(name, task) struct wait_queue_entry name = { 0, task, default_wake_function, { NULL, NULL } }
LAB_USUAL void init_waitqueue_entry(struct wait_queue_entry *w, struct task_struct *t)
{ *w = (struct wait_queue_entry){ 0, t, default_wake_function, { NULL, NULL } }; }

LAB_USUAL void add_wait_queue(wait_queue_head_t *q, struct wait_queue_entry *w)
{
    spin_lock(&q->lock);
    w->flags &= ~(unsigned)WQ_FLAG_EXCLUSIVE;
    list_add(&w->entry, &q->head);
    spin_unlock(&q->lock);
}
LAB_USUAL void add_wait_queue_exclusive(wait_queue_head_t *q, struct wait_queue_entry *w)
{
    spin_lock(&q->lock);
    w->flags |= WQ_FLAG_EXCLUSIVE;
    list_add_tail(&w->entry, &q->head);
    spin_unlock(&q->lock);
}
LAB_USUAL void remove_wait_queue(wait_queue_head_t *q, struct wait_queue_entry *w)
{
    spin_lock(&q->lock);
    list_del(&w->entry);
    spin_unlock(&q->lock);
}

LAB_USUAL void lab_prepare(wait_queue_head_t *q, struct wait_queue_entry *w, int state, int exclusive)
{
    spin_lock(&q->lock);
    if (list_empty(&w->entry)) {
        w->flags = exclusive ? WQ_FLAG_EXCLUSIVE : 0;
        if (exclusive)
            list_add_tail(&w->entry, &q->head);
        else
            list_add(&w->entry, &q->head);
    }
    set_current_state(state);
    spin_unlock(&q->lock);
}
#define prepare_to_wait(q, w, state) lab_prepare(q, w, state, 0)
#define prepare_to_wait_exclusive(q, w, state) lab_prepare(q, w, state, 1)
#define prepare_to_wait_event(q, w, state) (lab_prepare(q, w, state, 0), 0)

LAB_USUAL void finish_wait(wait_queue_head_t *q, struct wait_queue_entry *w)
{
    __set_current_state(TASK_RUNNING);
    spin_lock(&q->lock);
    if (!list_empty(&w->entry))
        list_del_init(&w->entry);
    spin_unlock(&q->lock);
}

/* Wakes all that are not exclusive, and `most` of those that are (0: all). */
LAB_USUAL void lab_wake(wait_queue_head_t *q, int most)
{
    struct wait_queue_entry *w, *next;
    spin_lock(&q->lock);
    list_for_each_entry_safe(w, next, &q->head, entry) {
        unsigned flags = w->flags;
        if (w->func(w, TASK_NORMAL, 0, NULL) && flags & WQ_FLAG_EXCLUSIVE && !--most)
            break;
    }
    spin_unlock(&q->lock);
}
#define wake_up(q) lab_wake(q, 1)
#define wake_up_nr(q, n) lab_wake(q, n)
#define wake_up_all(q) lab_wake(q, 0)
#define wake_up_interruptible(q) lab_wake(q, 1)
#define wake_up_interruptible_nr(q, n) lab_wake(q, n)
#define wake_up_interruptible_all(q) lab_wake(q, 0)
#define wake_up_interruptible_sync(q) lab_wake(q, 1)
LAB_USUAL int waitqueue_active(wait_queue_head_t *q) { return !list_empty(&q->head); }
LAB_USUAL bool wq_has_sleeper(wait_queue_head_t *q) { smp_mb(); return waitqueue_active(q); }

#define LAB_WAIT_EVENT(q, condition, state, exclusive, sleep) \
    do { \
        might_sleep(); \
        if (!(condition)) { \
            DEFINE_WAIT(lab_waiter); \
            for (;;) { \
                lab_prepare(&(q), &lab_waiter, state, exclusive); \
                if (condition) \
                    break; \
                sleep; \
            } \
            finish_wait(&(q), &lab_waiter); \
        } \
    } while (0)
#define wait_event(q, condition) LAB_WAIT_EVENT(q, condition, TASK_UNINTERRUPTIBLE, 0, schedule())
#define wait_event_interruptible(q, condition) ({ LAB_WAIT_EVENT(q, condition, TASK_INTERRUPTIBLE, 0, schedule()); 0; })
#define wait_event_killable(q, condition) ({ LAB_WAIT_EVENT(q, condition, TASK_KILLABLE, 0, schedule()); 0; })
#define wait_event_interruptible_exclusive(q, condition) \
    ({ LAB_WAIT_EVENT(q, condition, TASK_INTERRUPTIBLE, 1, schedule()); 0; })
#define wait_event_lock_irq(q, condition, lock) \
    LAB_WAIT_EVENT(q, condition, TASK_UNINTERRUPTIBLE, 0, spin_unlock(&(lock)); schedule(); spin_lock(&(lock)))

/* 0: the time is over, and the condition is not true; else what is left, at least 1. */
#define LAB_TRUE_OR_LATE(condition) \
    ({ bool lab_true = (condition); if (lab_true && !lab_left) lab_left = 1; lab_true || !lab_left; })
#define LAB_WAIT_EVENT_TIMEOUT(q, condition, state, time) \
    ({ \
        long lab_left = (long)(time); \
        LAB_WAIT_EVENT(q, LAB_TRUE_OR_LATE(condition), state, 0, lab_left = schedule_timeout(lab_left)); \
        lab_left; \
    })
#define wait_event_timeout(q, condition, time) LAB_WAIT_EVENT_TIMEOUT(q, condition, TASK_UNINTERRUPTIBLE, time)
#define wait_event_interruptible_timeout(q, condition, time) LAB_WAIT_EVENT_TIMEOUT(q, condition, TASK_INTERRUPTIBLE, time)
#define wait_event_killable_timeout(q, condition, time) LAB_WAIT_EVENT_TIMEOUT(q, condition, TASK_KILLABLE, time)

/* ---- completions ------------------------------------------------------------------------------------------------------ */

struct completion { int64_t done; };
#define LAB_FOR_ALL (INT64_MAX / 2)
#define COMPLETION_INITIALIZER(name) { 0 }
#define DECLARE_COMPLETION(name) struct completion name = COMPLETION_INITIALIZER(name)
#define DECLARE_COMPLETION_ONSTACK(name) DECLARE_COMPLETION(name)
LAB_USUAL void init_completion(struct completion *c) { c->done = 0; }
LAB_USUAL void reinit_completion(struct completion *c) { lab_set(&c->done, 0); }
LAB_USUAL void complete(struct completion *c) { lab_add(&c->done, 1); }
LAB_USUAL void complete_all(struct completion *c) { lab_set(&c->done, LAB_FOR_ALL); }
LAB_USUAL bool completion_done(struct completion *c) { return lab_get(&c->done) != 0; }

LAB_CODE void lab_take_done(int64_t *done)
{
    rt_host->wait(rt_host->x, RT_TAKE, done, RT_NOT_LESS, 1, 0);
    if (*done < LAB_FOR_ALL)
        --*done;
    lab_changed(done);
}
LAB_CODE int lab_try_done(int64_t *done)
{
    lab_point(RT_ATOMIC, done);
    if (!*done)
        return 0;
    if (*done < LAB_FOR_ALL)
        --*done;
    lab_changed(done);
    return 1;
}
LAB_USUAL void wait_for_completion(struct completion *c) { might_sleep(); lab_take_done(&c->done); }
LAB_USUAL int wait_for_completion_interruptible(struct completion *c) { wait_for_completion(c); return 0; }
LAB_USUAL int wait_for_completion_killable(struct completion *c) { wait_for_completion(c); return 0; }
LAB_USUAL bool try_wait_for_completion(struct completion *c) { return lab_try_done(&c->done); }
/* 0: the time is over, and nothing was completed. */
LAB_CODE unsigned long lab_take_done_for(int64_t *done, unsigned long time)
{
    if (lab_try_done(done))
        return time ? time : 1;
    if (rt_is_late_now())
        return (unsigned long)lab_try_done(done);
    if (!rt_host->wait(rt_host->x, RT_TAKE, done, RT_NOT_LESS, 1, 1))
        return 0;
    if (*done < LAB_FOR_ALL)
        --*done;
    lab_changed(done);
    return time ? time : 1;
}
LAB_USUAL unsigned long wait_for_completion_timeout(struct completion *c, unsigned long time)
{ might_sleep(); return lab_take_done_for(&c->done, time); }
LAB_USUAL long wait_for_completion_interruptible_timeout(struct completion *c, unsigned long time)
{ return (long)wait_for_completion_timeout(c, time); }
LAB_USUAL long wait_for_completion_killable_timeout(struct completion *c, unsigned long time)
{ return (long)wait_for_completion_timeout(c, time); }

#endif
