/* An object with a count of its users, which goes when the last one puts it. Who counts by a look and a store loses the
   count of another, and the object goes while it is in use.

     anonvma-rt hunt refcount.c                # freed twice, or used after it was freed
     anonvma-rt verify refcount.c -p FIXED=1   # never */

#include <linux/atomic.h>
#include <linux/bug.h>
#include <linux/kthread.h>
#include <linux/slab.h>

#ifndef FIXED
#define FIXED 0
#endif
#ifndef USERS
#define USERS 2
#endif

struct thing {
    atomic_t users;
    int work;
};

static void get_thing(struct thing *t)
{
    if (FIXED)
        atomic_inc(&t->users);
    else
        atomic_set(&t->users, atomic_read(&t->users) + 1);
}

static void put_thing(struct thing *t)
{
    if (atomic_dec_and_test(&t->users))
        kfree(t);
}

static int use(void *data)
{
    struct thing *t = data;

    get_thing(t);
    WRITE_ONCE(t->work, 1);
    put_thing(t);
    return 0;
}

int main(void)
{
    struct task_struct *task[USERS];
    struct thing *t = kzalloc(sizeof(*t), GFP_KERNEL);

    atomic_set(&t->users, 1);
    for (int i = 0; i < USERS; i++)
        task[i] = kthread_run(use, t, "user");
    for (int i = 0; i < USERS; i++)
        kthread_join(task[i]);
    WARN_ON(atomic_read(&t->users) != 1);
    put_thing(t);
    return 0;
}
