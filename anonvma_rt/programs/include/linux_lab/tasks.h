/* Tasks: current, kthread_run and what goes with it, sleeping and waking, cpu numbers, delays.

   A task that sleeps waits for its own state to become TASK_RUNNING, which a wake-up makes it. A processor's number is its
   task's, so that every task has one for itself. */

#ifndef ANONVMA_RT_LINUX_TASKS
#define ANONVMA_RT_LINUX_TASKS

#pragma GCC system_header

#include <unistd.h>

#include "locks.h"

enum { TASK_RUNNING = 0, TASK_INTERRUPTIBLE = 1, TASK_UNINTERRUPTIBLE = 2, TASK_KILLABLE = 0x102, TASK_NORMAL = 3, TASK_IDLE = 0x402 };

/* pid: the number of the task. waits: it was created only, and begins when it is woken. */
struct task_struct {
    int64_t state, stop;
    int (*call)(void *);
    void *data;
    pthread_t thread;
    int result, pid, tgid, waits;
    char comm[16];
};

LAB_DATA struct task_struct *lab_current[RT_MOST_TASKS];

LAB_CODE struct task_struct *lab_current_task(void)
{
    int me = lab_task();
    if (!lab_current[me]) {
        lab_current[me] = calloc(1, sizeof(struct task_struct));
        lab_current[me]->thread = pthread_self();
        lab_current[me]->pid = lab_current[me]->tgid = me;
    }
    return lab_current[me];
}

#define current lab_current_task()
#define get_current() lab_current_task()
#define task_pid_nr(t) ((t)->pid)
#define smp_processor_id() lab_task()
#define raw_smp_processor_id() lab_task()
#define get_cpu() (preempt_disable(), lab_task())
#define put_cpu() preempt_enable()
#define nr_cpu_ids (rt_host->tasks)
#define NR_CPUS RT_MOST_TASKS
#define num_online_cpus() (rt_host->tasks)
#define numa_node_id() 0
#define for_each_possible_cpu(cpu) for ((cpu) = 0; (cpu) < rt_host->tasks; (cpu)++)
#define for_each_online_cpu(cpu) for_each_possible_cpu(cpu)
#define DEFINE_PER_CPU(type, name) __typeof__(type) name[RT_MOST_TASKS]
#define DECLARE_PER_CPU(type, name) extern __typeof__(type) name[RT_MOST_TASKS]
#define per_cpu(name, cpu) (name[cpu])
#define this_cpu_ptr(p) (&(*(p))[lab_task()])
#define this_cpu_read(name) READ_ONCE(name[lab_task()])
#define this_cpu_write(name, value) WRITE_ONCE(name[lab_task()], value)
#define this_cpu_add(name, n) ((void)__atomic_fetch_add(&name[lab_task()], n, __ATOMIC_RELAXED))
#define this_cpu_inc(name) this_cpu_add(name, 1)
#define this_cpu_dec(name) this_cpu_add(name, -1)

/* ---- sleeping and waking ---------------------------------------------------------------------------------------------- */

#define set_current_state(s) lab_set(&current->state, s)
#define __set_current_state(s) lab_set(&current->state, s)
LAB_CODE void lab_sleep(void) { lab_await(&lab_current_task()->state, RT_EQUAL, TASK_RUNNING); }
/* A task whose state is TASK_RUNNING goes on at once. */
#define schedule() do { might_sleep(); lab_sleep(); } while (0)

#define MAX_SCHEDULE_TIMEOUT LONG_MAX
/* Late: the timer makes the task run, whoever wants to wake it afterwards finds it running, and 0 is left. In time, no time
   has passed. */
LAB_CODE long lab_sleep_for(long time)
{
    int64_t *state = &lab_current_task()->state;
    if (time == MAX_SCHEDULE_TIMEOUT) {
        lab_sleep();
        return time;
    }
    if (time > 0 && !rt_is_late_now() && rt_host->wait(rt_host->x, RT_AWAIT, state, RT_EQUAL, TASK_RUNNING, 1))
        return time;
    lab_set(state, TASK_RUNNING);
    return 0;
}
#define schedule_timeout(time) ({ might_sleep(); lab_sleep_for(time); })
#define schedule_timeout_interruptible(time) ({ set_current_state(TASK_INTERRUPTIBLE); schedule_timeout(time); })
#define schedule_timeout_uninterruptible(time) ({ set_current_state(TASK_UNINTERRUPTIBLE); schedule_timeout(time); })
#define yield() cpu_relax()
#define cond_resched() ((void)0)
#define signal_pending(t) 0
#define fatal_signal_pending(t) 0
#define get_task_struct(t) (t)
#define put_task_struct(t) ((void)(t))

LAB_USUAL int wake_up_process(struct task_struct *t) { return lab_swap(&t->state, TASK_RUNNING) != TASK_RUNNING; }
#define wake_up_state(t, states) wake_up_process(t)

/* ---- kernel threads --------------------------------------------------------------------------------------------------- */

/* As the kernel does it: whoever is asked to stop before it ran does not run at all. */
LAB_CODE void *lab_kthread(void *given)
{
    struct task_struct *t = given;
    lab_current[lab_task()] = t;
    t->pid = t->tgid = lab_task();
    if (t->waits)
        lab_sleep();
    if (lab_get(&t->stop))
        t->result = -EINTR;
    else
        t->result = t->call(t->data);
    return 0;
}

LAB_CODE struct task_struct *lab_begin_kthread(int (*call)(void *), void *data, int64_t state, const char *name)
{
    struct task_struct *t = calloc(1, sizeof *t);
    t->call = call;
    t->data = data;
    t->state = state;
    t->waits = state != TASK_RUNNING;
    for (int i = 0; i < 15 && name[i]; i++)
        t->comm[i] = name[i];
    pthread_create(&t->thread, 0, lab_kthread, t);
    return t;
}

#define kthread_create(call, data, name, ...) lab_begin_kthread(call, data, TASK_UNINTERRUPTIBLE, name)
#define kthread_create_on_node(call, data, node, name, ...) kthread_create(call, data, name)
#define kthread_run(call, data, name, ...) lab_begin_kthread(call, data, TASK_RUNNING, name)
#define kthread_bind(t, cpu) ((void)(t), (void)(cpu))
LAB_USUAL bool kthread_should_stop(void) { return lab_get(&current->stop) != 0; }
#define kthread_should_park() false

/* What a test needs, and a kernel has completions for: waits until the thread's function has returned, and has its result. */
LAB_USUAL int kthread_join(struct task_struct *t)
{
    pthread_join(t->thread, NULL);
    return t->result;
}

LAB_USUAL int kthread_stop(struct task_struct *t)
{
    lab_set(&t->stop, 1);
    wake_up_process(t);
    return kthread_join(t);
}

/* ---- time, which passes as the schedule has it ------------------------------------------------------------------------ */

#define HZ 1000
#define msecs_to_jiffies(n) ((unsigned long)(n))
#define jiffies_to_msecs(n) ((unsigned)(n))
#define udelay(n) ((void)(n))
#define ndelay(n) ((void)(n))
#define mdelay(n) ((void)(n))
#define msleep(n) do { might_sleep(); usleep(1); } while (0)
#define ssleep(n) msleep(n)
#define usleep_range(from, to) msleep(1)

#endif
