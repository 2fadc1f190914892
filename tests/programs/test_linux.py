"""linux.h: kernel code as it stands. Each piece is right, and found wrong when what it needs is left out (WRONG)."""

import shutil

import pytest

from anonvma_rt import UserError, hunt, native, verify

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="programs are compiled")

TWO = """
static int a(void *unused);
static int b(void *unused);
static void begin(void);
static void end(void);
int main(void)
{
    struct task_struct *t, *u;
    begin();
    t = kthread_run(a, NULL, "a");
    u = kthread_run(b, NULL, "b");
    kthread_join(t);
    kthread_join(u);
    end();
    return 0;
}
"""

PIECES = {
    # Whoever waits is woken by whoever made it true, or sleeps for ever.
    "wait_event": """
static DECLARE_WAIT_QUEUE_HEAD(q);
static int ready;
static int a(void *unused) { wait_event(q, READ_ONCE(ready)); return 0; }
static int b(void *unused) { WRITE_ONCE(ready, 1); if (!WRONG) wake_up(&q); return 0; }
static void begin(void) { }
static void end(void) { }
""",
    # A look without the queue's protocol loses the wake-up.
    "prepare_to_wait": """
static DECLARE_WAIT_QUEUE_HEAD(q);
static int ready;
static int a(void *unused)
{
    DEFINE_WAIT(w);
    if (WRONG && READ_ONCE(ready))
        return 0;
    prepare_to_wait(&q, &w, TASK_INTERRUPTIBLE);
    if (WRONG || !READ_ONCE(ready))
        schedule();
    finish_wait(&q, &w);
    return 0;
}
static int b(void *unused) { WRITE_ONCE(ready, 1); wake_up(&q); return 0; }
static void begin(void) { }
static void end(void) { }
""",
    # One wake-up is for one exclusive sleeper.
    "exclusive": """
static DECLARE_WAIT_QUEUE_HEAD(q);
static int tickets;
static int a(void *unused) { wait_event_interruptible_exclusive(q, READ_ONCE(tickets)); return 0; }
static int b(void *unused) { return a(unused); }
static void begin(void) { }
static void end(void) { }
#define main usual_main
""",
    "completion": """
static DECLARE_COMPLETION(done);
static int value;
static int a(void *unused) { wait_for_completion(&done); BUG_ON(READ_ONCE(value) != 1); return 0; }
static int b(void *unused) { if (WRONG) complete(&done); WRITE_ONCE(value, 1); if (!WRONG) complete(&done); return 0; }
static void begin(void) { }
static void end(void) { }
""",
    # Whoever gives up takes what the other one still completes with it.
    "completion_timeout": """
static struct completion *done, *theirs;
static int a(void *unused)
{
    struct completion *mine = done;
    if (!wait_for_completion_timeout(mine, HZ) && !WRONG)
        wait_for_completion(mine);
    kfree(mine);
    return 0;
}
static int b(void *unused) { complete(theirs); return 0; }
static void begin(void) { done = theirs = kmalloc(sizeof *done, GFP_KERNEL); init_completion(done); }
static void end(void) { }
""",
    # What was true when the time was over counts; a sleeper that was late is on the list until it takes itself off.
    "wait_event_timeout": """
static DECLARE_WAIT_QUEUE_HEAD(q);
static int ready;
static int a(void *unused)
{
    long left = wait_event_timeout(q, READ_ONCE(ready), HZ);
    BUG_ON(left < 0 || left > HZ);
    BUG_ON(left && !READ_ONCE(ready));
    BUG_ON(WRONG && !left);
    return 0;
}
static int b(void *unused) { WRITE_ONCE(ready, 1); wake_up(&q); return 0; }
static void begin(void) { }
static void end(void) { BUG_ON(!list_empty(&q.head)); }
""",
    "schedule_timeout": """
static struct task_struct *sleeper;
static int slept;
static int a(void *unused)
{
    set_current_state(TASK_INTERRUPTIBLE);
    WRITE_ONCE(sleeper, current);
    slept = schedule_timeout(10) == 0 ? 1 : 2;
    BUG_ON(WRONG && slept == 1 && !READ_ONCE(sleeper));
    return 0;
}
static int b(void *unused)
{
    struct task_struct *t = READ_ONCE(sleeper);
    if (t && wake_up_process(t))
        WRITE_ONCE(sleeper, NULL);
    return 0;
}
static void begin(void) { BUG_ON(schedule_timeout(0) != 0); }
static void end(void) { BUG_ON(!slept); }
""",
    "complete_all": """
static DECLARE_COMPLETION(done);
static int a(void *unused) { wait_for_completion(&done); return 0; }
static int b(void *unused) { wait_for_completion(&done); return 0; }
static void begin(void) { if (WRONG) complete(&done); else complete_all(&done); }
static void end(void) { }
""",
    "seqlock": """
static DEFINE_SEQLOCK(lock);
static int x, y;
static int a(void *unused)
{
    unsigned seq;
    int seen_x, seen_y;
    do {
        seq = read_seqbegin(&lock);
        seen_x = READ_ONCE(x);
        seen_y = READ_ONCE(y);
    } while (read_seqretry(&lock, seq) && !WRONG);
    BUG_ON(seen_x != seen_y);
    return 0;
}
static int b(void *unused)
{
    write_seqlock(&lock);
    WRITE_ONCE(x, 1);
    WRITE_ONCE(y, 1);
    write_sequnlock(&lock);
    return 0;
}
static void begin(void) { }
static void end(void) { }
""",
    "rwsem": """
static DECLARE_RWSEM(sem);
static int x;
static int a(void *unused)
{
    int seen;
    WRONG ? down_read(&sem) : down_write(&sem);
    seen = READ_ONCE(x);
    WRITE_ONCE(x, seen + 1);
    WRONG ? up_read(&sem) : up_write(&sem);
    return 0;
}
static int b(void *unused) { return a(unused); }
static void begin(void) { }
static void end(void) { BUG_ON(x != 2); }
""",
    # A grace period waits for the section that was under way.
    "synchronize_rcu": """
static int *shared, old = 1, new = 2;
static int a(void *unused)
{
    int *p;
    rcu_read_lock();
    p = rcu_dereference(shared);
    BUG_ON(READ_ONCE(*p) == 0);
    rcu_read_unlock();
    return 0;
}
static int b(void *unused)
{
    rcu_assign_pointer(shared, &new);
    if (!WRONG)
        synchronize_rcu();
    WRITE_ONCE(old, 0);
    return 0;
}
static void begin(void) { shared = &old; }
static void end(void) { }
""",
    "rcu_barrier": """
struct thing { struct rcu_head rcu; };
static struct thing thing;
static int done;
static void callback(struct rcu_head *head)
{
    BUG_ON(container_of(head, struct thing, rcu) != &thing);
    WRITE_ONCE(done, 1);
}
static int a(void *unused)
{
    call_rcu(&thing.rcu, callback);
    if (!WRONG) rcu_barrier();
    BUG_ON(!READ_ONCE(done));
    return 0;
}
static int b(void *unused) { rcu_read_lock(); rcu_read_unlock(); return 0; }
static void begin(void) { }
static void end(void) { }
""",
    # A freed object of such a cache is the next one, so its reader must look again whose it is.
    "typesafe_by_rcu": """
struct thing { int owner, value; };
static struct kmem_cache *cache;
static struct thing *shared;
static int a(void *unused)
{
    struct thing *t;
    rcu_read_lock();
    t = rcu_dereference(shared);
    if (READ_ONCE(t->owner) == 1) {
        int value = READ_ONCE(t->value);
        smp_rmb();
        BUG_ON(value != 10 && (WRONG || READ_ONCE(t->owner) == 1));
    }
    rcu_read_unlock();
    return 0;
}
static int b(void *unused)
{
    struct thing *t = shared;
    kmem_cache_free(cache, t);
    t = kmem_cache_alloc(cache, GFP_KERNEL);
    BUG_ON(t != shared);
    WRITE_ONCE(t->owner, 2);
    smp_wmb();
    WRITE_ONCE(t->value, 20);
    return 0;
}
static void begin(void)
{
    cache = KMEM_CACHE(thing, SLAB_TYPESAFE_BY_RCU);
    shared = kmem_cache_zalloc(cache, GFP_KERNEL);
    shared->owner = 1;
    shared->value = 10;
}
static void end(void) { }
""",
    "sleeps_in_atomic": """
static DEFINE_SPINLOCK(lock);
static DEFINE_MUTEX(mutex);
static int a(void *unused)
{
    if (WRONG) spin_lock(&lock);
    mutex_lock(&mutex);
    mutex_unlock(&mutex);
    if (WRONG) spin_unlock(&lock);
    return 0;
}
static int b(void *unused) { return 0; }
static void begin(void) { }
static void end(void) { }
""",
    "kthread_stop": """
static int rounds;
static int loop(void *unused)
{
    while (!kthread_should_stop()) {
        set_current_state(TASK_INTERRUPTIBLE);
        if (WRONG || !kthread_should_stop())
            schedule();
        __set_current_state(TASK_RUNNING);
        WRITE_ONCE(rounds, rounds + 1);
    }
    return 7;
}
static struct task_struct *t;
static int a(void *unused) { int result = kthread_stop(t); BUG_ON(result != 7 && result != -EINTR); return 0; }
static int b(void *unused) { return 0; }
static void begin(void) { t = kthread_create(loop, NULL, "loop"); wake_up_process(t); }
static void end(void) { }
""",
    "cmpxchg": """
static unsigned long word;
static struct list_head *pointer;
static LIST_HEAD(list);
static int a(void *unused)
{
    unsigned long old;
    do {
        old = READ_ONCE(word);
    } while (WRONG ? (WRITE_ONCE(word, old + 1), false) : cmpxchg(&word, old, old + 1) != old);
    return 0;
}
static int b(void *unused) { xchg(&pointer, &list); return a(unused); }
static void begin(void) { }
static void end(void) { BUG_ON(word != 2 || pointer != &list); }
""",
    "refcount": """
static refcount_t r = REFCOUNT_INIT(1);
static int a(void *unused)
{
    if (WRONG) refcount_inc(&r);
    else if (!refcount_inc_not_zero(&r)) return 0;
    refcount_dec_and_test(&r);
    return 0;
}
static int b(void *unused) { refcount_dec_and_test(&r); return 0; }
static void begin(void) { }
static void end(void) { }
""",
}
WRONG_KIND = {
    "wait_event": "deadlock",
    "prepare_to_wait": "deadlock",
    "exclusive": "deadlock",
    "complete_all": "deadlock",
    "completion_timeout": "data-race",
    "kthread_stop": "deadlock",
}
MAINS = {
    "exclusive": """
#undef main
int main(void)
{
    struct task_struct *t = kthread_run(a, NULL, "a"), *u = kthread_run(b, NULL, "b");
    WRITE_ONCE(tickets, 1);
    if (WRONG) wake_up(&q); else wake_up_all(&q);
    kthread_join(t);
    kthread_join(u);
    return usual_main != NULL ? 0 : 1;
}
"""
}


def written(folder, name):
    path = folder / f"{name}.c"
    path.write_text(
        "#include <linux.h>\n#ifndef WRONG\n#define WRONG 0\n#endif\n" + PIECES[name] + TWO + MAINS.get(name, "")
    )
    return native(path)


@pytest.mark.parametrize("name", PIECES)
def test_a_piece_of_the_kernel_is_right_and_its_wrong_twin_found(tmp_path, name):
    program = written(tmp_path, name)
    (right,) = verify(program).results
    assert right.complete and not right.violating_classes
    (wrong,) = verify(program, {"WRONG": 1}).results
    assert wrong.violating_classes.keys() == {WRONG_KIND.get(name, "assertion")}


def test_a_grace_period_waits_for_no_section_that_began_later(tmp_path):
    (tmp_path / "later.c").write_text(
        """#include <linux.h>
static int over;
static int a(void *unused)
{
    rcu_read_lock();
    while (!READ_ONCE(over))
        cpu_relax();
    rcu_read_unlock();
    return 0;
}
static int b(void *unused) { synchronize_rcu(); WRITE_ONCE(over, 1); return 0; }
static void begin(void) { }
static void end(void) { }
"""
        + TWO
    )
    (proof,) = verify(native(tmp_path / "later.c"), all_violations=True).results
    assert proof.violating_classes.keys() == {"livelock"}  # the section had begun
    assert sum(proof.violating_classes.values()) < proof.classes


def test_linux_h_is_for_c_only(tmp_path):
    (tmp_path / "one.cc").write_text("#include <linux.h>\nint main() { return 0; }\n")
    with pytest.raises(UserError, match=r"linux.h is for C"):
        hunt(native(tmp_path / "one.cc"), runs=1)
