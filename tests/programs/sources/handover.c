/* Plain data is handed over, by one of the WAYs of the kernel; WRONG does it before the data is there. */
#include <linux.h>
#ifndef WRONG
#define WRONG 0
#endif
#ifndef WAY
#define WAY 0
#endif
static int data, flag;
static DECLARE_COMPLETION(done);
static DECLARE_WAIT_QUEUE_HEAD(q);
static int *ptr;
static DEFINE_SEQLOCK(sl);
static struct semaphore sem;
static unsigned long bits;
static refcount_t r = REFCOUNT_INIT(2);
static struct task_struct *cons;
static int *shared;
static int producer(void *u)
{
    if (!WRONG && WAY != 9)
        data = 1;
    switch (WAY) {
    case 0: complete(&done); break;
    case 1: WRITE_ONCE(flag, 1); wake_up(&q); break;
    case 2: rcu_assign_pointer(ptr, &data); break;
    case 3: up(&sem); break;
    case 4: smp_store_release(&flag, 1); break;
    case 5: smp_wmb(); WRITE_ONCE(flag, 1); break;
    case 6: clear_bit_unlock(0, &bits); break;
    case 7: if (refcount_dec_and_test(&r)) BUG_ON(data != 1); break;
    case 8: wake_up_process(cons); break;
    case 9: rcu_read_lock(); int *p = rcu_dereference(shared); if (p) data = 5; rcu_read_unlock(); break;
    }
    if (WRONG)
        data = 1;
    return 0;
}
static int consumer(void *u)
{
    switch (WAY) {
    case 0: wait_for_completion(&done); break;
    case 1: wait_event(q, READ_ONCE(flag)); break;
    case 2: while (!rcu_dereference(ptr)) cpu_relax(); break;
    case 3: down(&sem); break;
    case 4: while (!smp_load_acquire(&flag)) cpu_relax(); break;
    case 5: while (!READ_ONCE(flag)) cpu_relax(); smp_rmb(); break;
    case 6: while (test_and_set_bit_lock(0, &bits)) cpu_relax(); break;
    case 7: if (!refcount_dec_and_test(&r)) return 0; break;
    case 8: break;
    case 9: rcu_assign_pointer(shared, NULL); if (!WRONG) synchronize_rcu(); data = 2; return 0;
    }
    BUG_ON(data != 1);
    return 0;
}
int main(void)
{
    struct task_struct *p;
    sema_init(&sem, 0);
    bits = 1;
    shared = WAY == 9 ? &flag : NULL;
    if (WAY == 9) data = 0;
    cons = WAY == 8 ? kthread_create(consumer, NULL, "c") : kthread_run(consumer, NULL, "c");
    p = kthread_run(producer, NULL, "p");
    kthread_join(p);
    kthread_join(cons);
    BUG_ON(data == 0); /* what nobody reads is not written either */
    return 0;
}
