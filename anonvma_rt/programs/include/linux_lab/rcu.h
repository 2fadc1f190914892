/* Read-copy-update: read sections, grace periods, callbacks, and lists that are read without a lock.

   Each task has a word that is odd while it is in a read section and grows with each one. A grace period looks at the words
   of all tasks and then waits until those that it found odd have become something else: it waits for the sections that were
   under way when it looked, and for no other. Each callback has a task of its own, so callbacks come in any order, as late
   as they like, and beside each other. */

#ifndef ANONVMA_RT_LINUX_RCU
#define ANONVMA_RT_LINUX_RCU

#pragma GCC system_header

#include "list.h"
#include "tasks.h"

LAB_DATA int64_t rcu_sections[RT_MOST_TASKS];
LAB_DATA int64_t lab_rcu_depth[RT_MOST_TASKS];
/* Of each task: how many callbacks it has handed over, and how many of them have run. */
LAB_DATA int64_t rcu_callbacks[RT_MOST_TASKS], rcu_callbacks_done[RT_MOST_TASKS];

LAB_CODE void lab_rcu_begin(void)
{
    int me = lab_task();
    lab_enter_atomic();
    if (lab_rcu_depth[me]++ == 0)
        lab_set(&rcu_sections[me], rcu_sections[me] + 1);
}
LAB_CODE int lab_rcu_end(void)
{
    int me = lab_task();
    if (lab_rcu_depth[me] == 0)
        return 0;
    if (--lab_rcu_depth[me] == 0)
        lab_set(&rcu_sections[me], rcu_sections[me] + 1);
    lab_leave_atomic();
    return 1;
}
LAB_CODE int lab_in_rcu(void) { return lab_rcu_depth[lab_task()] > 0; }

LAB_CODE void lab_grace_period(void)
{
    int64_t seen[RT_MOST_TASKS];
    int tasks = rt_host->tasks;
    for (int i = 0; i < tasks; i++)
        seen[i] = lab_get(&rcu_sections[i]);
    for (int i = 0; i < tasks; i++)
        if (seen[i] & 1)
            lab_await(&rcu_sections[i], RT_UNEQUAL, seen[i]);
}

#define rcu_read_lock() lab_rcu_begin()
#define rcu_read_unlock() ((void)LAB_FAIL_IF(!lab_rcu_end(), "rcu_read_unlock() outside of a read section"))
#define rcu_read_lock_held() lab_in_rcu()
#define rcu_read_lock_bh() rcu_read_lock()
#define rcu_read_unlock_bh() rcu_read_unlock()
#define rcu_read_lock_sched() rcu_read_lock()
#define rcu_read_unlock_sched() rcu_read_unlock()
#define synchronize_rcu() \
    do { \
        (void)LAB_FAIL_IF(lab_in_rcu(), "synchronize_rcu() in a read section, which it would wait for"); \
        might_sleep(); \
        lab_grace_period(); \
    } while (0)
#define synchronize_rcu_expedited() synchronize_rcu()
#define synchronize_net() synchronize_rcu()
#define synchronize_sched() synchronize_rcu()

#define rcu_assign_pointer(p, value) __atomic_store_n(&(p), value, __ATOMIC_RELEASE)
#define rcu_dereference(p) __atomic_load_n(&(p), __ATOMIC_ACQUIRE)
#define rcu_dereference_check(p, c) rcu_dereference(p)
#define rcu_dereference_protected(p, c) (p)
#define rcu_dereference_raw(p) rcu_dereference(p)
#define rcu_dereference_bh(p) rcu_dereference(p)
#define rcu_access_pointer(p) READ_ONCE(p)
#define rcu_replace_pointer(p, value, c) ({ __typeof__(p) lab_old_p = (p); rcu_assign_pointer(p, value); lab_old_p; })
#define RCU_INIT_POINTER(p, value) WRITE_ONCE(p, value)
#define RCU_POINTER_INITIALIZER(p, value) .p = (value)

/* ---- callbacks -------------------------------------------------------------------------------------------------------- */

struct rcu_head { struct rcu_head *next; void (*func)(struct rcu_head *); };
typedef void (*rcu_callback_t)(struct rcu_head *);
#define callback_head rcu_head

struct lab_callback { struct rcu_head *head; rcu_callback_t call; void *free; int from; };

LAB_CODE void *lab_run_callback(void *given)
{
    struct lab_callback c = *(struct lab_callback *)given;
    free(given);
    lab_grace_period();
    if (c.call)
        c.call(c.head);
    else
        free(c.free);
    lab_add(&rcu_callbacks_done[c.from], 1);
    return 0;
}

LAB_CODE void lab_call_rcu(struct rcu_head *head, rcu_callback_t call, void *freed)
{
    struct lab_callback *c = malloc(sizeof *c);
    pthread_t thread;
    *c = (struct lab_callback){ head, call, freed, lab_task() };
    lab_set(&rcu_callbacks[c->from], rcu_callbacks[c->from] + 1);
    pthread_create(&thread, 0, lab_run_callback, c);
    pthread_detach(thread);
}

LAB_CODE void lab_rcu_barrier(void)
{
    int tasks = rt_host->tasks;
    for (int i = 0; i < tasks; i++) {
        int64_t given = lab_get(&rcu_callbacks[i]);
        if (given)
            lab_await(&rcu_callbacks_done[i], RT_NOT_LESS, given);
    }
}

#define call_rcu(head, func) lab_call_rcu(head, func, NULL)
#define call_rcu_hurry(head, func) call_rcu(head, func)
#define kfree_rcu(p, member) \
    do { __typeof__(p) lab_freed = (p); if (lab_freed) lab_call_rcu(&lab_freed->member, NULL, lab_freed); } while (0)
#define kvfree_rcu(p, member) kfree_rcu(p, member)
#define kfree_rcu_mightsleep(p) do { synchronize_rcu(); free((void *)(p)); } while (0)
#define rcu_barrier() do { might_sleep(); lab_rcu_barrier(); } while (0)

/* ---- lists that are read without a lock ------------------------------------------------------------------------------- */

LAB_USUAL void lab_put_between_rcu(struct list_head *node, struct list_head *before, struct list_head *after)
{
    node->next = after;
    node->prev = before;
    rcu_assign_pointer(before->next, node);
    after->prev = node;
}
LAB_USUAL void list_add_rcu(struct list_head *node, struct list_head *head) { lab_put_between_rcu(node, head, head->next); }
LAB_USUAL void list_add_tail_rcu(struct list_head *node, struct list_head *head) { lab_put_between_rcu(node, head->prev, head); }
/* Who reads goes on from it. */
LAB_USUAL void list_del_rcu(struct list_head *node)
{
    __list_del_entry(node);
    node->prev = LIST_POISON2;
}
LAB_USUAL void list_replace_rcu(struct list_head *old, struct list_head *node)
{
    lab_put_between_rcu(node, old->prev, old->next);
    old->prev = LIST_POISON2;
}

#define list_next_rcu(node) rcu_dereference((node)->next)
#define list_entry_rcu(p, type, member) container_of(rcu_dereference(p), type, member)
#define list_first_or_null_rcu(head, type, member) \
    ({ struct list_head *lab_first = list_next_rcu(head); lab_first == (head) ? NULL : list_entry(lab_first, type, member); })
#define list_for_each_entry_rcu(p, head, member, ...) \
    for (p = list_entry_rcu((head)->next, __typeof__(*p), member); !list_entry_is_head(p, head, member); \
         p = list_entry_rcu(p->member.next, __typeof__(*p), member))
#define list_for_each_entry_continue_rcu(p, head, member) \
    for (p = list_entry_rcu(p->member.next, __typeof__(*p), member); !list_entry_is_head(p, head, member); \
         p = list_entry_rcu(p->member.next, __typeof__(*p), member))

LAB_USUAL void hlist_add_head_rcu(struct hlist_node *node, struct hlist_head *head)
{
    struct hlist_node *first = head->first;
    node->next = first;
    node->pprev = &head->first;
    rcu_assign_pointer(head->first, node);
    if (first)
        first->pprev = &node->next;
}
LAB_USUAL void hlist_del_rcu(struct hlist_node *node)
{
    __hlist_del(node);
    node->pprev = LIST_POISON2;
}
LAB_USUAL void hlist_del_init_rcu(struct hlist_node *node)
{
    if (!hlist_unhashed(node)) {
        __hlist_del(node);
        WRITE_ONCE(node->pprev, NULL);
    }
}
#define hlist_for_each_entry_rcu(p, head, member, ...) \
    for (p = hlist_entry_safe(rcu_dereference((head)->first), __typeof__(*p), member); p; \
         p = hlist_entry_safe(rcu_dereference(p->member.next), __typeof__(*p), member))

#endif
