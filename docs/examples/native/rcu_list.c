/* A list that is read without a lock: who takes an object off it must wait until those that read it have gone on.

     anonvma-rt hunt rcu_list.c                # use after free: nobody waited
     anonvma-rt verify rcu_list.c -p FIXED=1   # synchronize_rcu() before kfree()
     anonvma-rt verify rcu_list.c -p FIXED=2   # kfree_rcu(), which frees it later */

#include <linux/bug.h>
#include <linux/kthread.h>
#include <linux/rculist.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#ifndef FIXED
#define FIXED 0
#endif

struct item {
    struct list_head list;
    struct rcu_head rcu;
    int key, value;
};

static LIST_HEAD(items);
static DEFINE_SPINLOCK(items_lock);

static int lookup(int key)
{
    struct item *p;
    int value = -1;

    rcu_read_lock();
    list_for_each_entry_rcu(p, &items, list) {
        if (READ_ONCE(p->key) == key) {
            value = READ_ONCE(p->value);
            break;
        }
    }
    rcu_read_unlock();
    return value;
}

static void insert(int key, int value)
{
    struct item *p = kmalloc(sizeof(*p), GFP_KERNEL);

    p->key = key;
    p->value = value;
    spin_lock(&items_lock);
    list_add_tail_rcu(&p->list, &items);
    spin_unlock(&items_lock);
}

static void delete(int key)
{
    struct item *p, *found = NULL;

    spin_lock(&items_lock);
    list_for_each_entry(p, &items, list) {
        if (p->key == key) {
            found = p;
            list_del_rcu(&p->list);
            break;
        }
    }
    spin_unlock(&items_lock);
    if (!found)
        return;
    if (FIXED == 2) {
        kfree_rcu(found, rcu);
        return;
    }
    if (FIXED == 1)
        synchronize_rcu();
    kfree(found);
}

static int read_all(void *unused)
{
    int value = lookup(2);

    BUG_ON(value != 20);
    return 0;
}

int main(void)
{
    struct task_struct *reader;

    insert(1, 10);
    insert(2, 20);
    reader = kthread_run(read_all, NULL, "reader");
    delete(1);
    kthread_join(reader);
    return 0;
}
