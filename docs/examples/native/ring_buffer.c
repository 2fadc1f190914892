/* A ring of which the indices only grow. One task takes out; two put in, and must have a lock against each other, or both
   fill the same slot.

     anonvma-rt hunt ring_buffer.c                # an item is lost
     anonvma-rt verify ring_buffer.c -p FIXED=1   # never */

#include <linux/bug.h>
#include <linux/kthread.h>
#include <linux/log2.h>
#include <linux/spinlock.h>

#ifndef FIXED
#define FIXED 0
#endif
#ifndef SIZE
#define SIZE 2
#endif
#ifndef ITEMS
#define ITEMS 1
#endif

struct ring {
    spinlock_t producers;
    unsigned int head, tail;
    int slot[SIZE];
};

static struct ring ring;
static int taken;

static bool put(struct ring *r, int item)
{
    unsigned int head;
    bool room;

    if (FIXED)
        spin_lock(&r->producers);
    head = READ_ONCE(r->head);
    room = head - smp_load_acquire(&r->tail) < SIZE;
    if (room) {
        WRITE_ONCE(r->slot[head & (SIZE - 1)], item);
        smp_store_release(&r->head, head + 1);
    }
    if (FIXED)
        spin_unlock(&r->producers);
    return room;
}

static bool take(struct ring *r, int *item)
{
    unsigned int tail = r->tail;

    if (smp_load_acquire(&r->head) == tail)
        return false;
    *item = READ_ONCE(r->slot[tail & (SIZE - 1)]);
    smp_store_release(&r->tail, tail + 1);
    return true;
}

static int produce(void *item)
{
    for (int i = 0; i < ITEMS; i++)
        while (!put(&ring, (int)(long)item))
            cpu_relax();
    return 0;
}

static int consume(void *unused)
{
    int item;

    for (int i = 0; i < ITEMS; i++) {
        while (!take(&ring, &item))
            cpu_relax();
        taken += item;
    }
    return 0;
}

int main(void)
{
    struct task_struct *one, *two, *out;
    int item;

    BUILD_BUG_ON(!is_power_of_2(SIZE));
    spin_lock_init(&ring.producers);
    one = kthread_run(produce, (void *)1, "one");
    two = kthread_run(produce, (void *)2, "two");
    out = kthread_run(consume, NULL, "out");
    kthread_join(one);
    kthread_join(two);
    kthread_join(out);
    while (take(&ring, &item))
        taken += item;
    BUG_ON(taken != 3 * ITEMS);
    return 0;
}
