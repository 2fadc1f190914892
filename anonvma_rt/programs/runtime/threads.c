/* pthread_create and what goes with a thread's life: join, keys, thread-local variables, once.

   Source: POSIX.1-2017. A thread is a task that waits outside until its gate is opened, so that to begin it is a store and
   its first step a look at it: the relation of operations orders the two. */

#define _GNU_SOURCE
#include "runtime.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>

struct rt_exit {
    void (*call)(void *);
    void *argument;
    struct rt_exit *next;
};

#define ENTRY __attribute__((visibility("default")))

ENTRY struct rt_host *rt_host;
ENTRY struct rt_state *rt_states;

const char *rt_tls_image;
uint64_t rt_tls_filled, rt_tls_size, rt_tls_align = 16;

int main(int argc, char **argv, char **envp);

static void *get(uint64_t size, uint64_t align) { return rt_host->allocate(rt_host->x, size ? size : 1, align); }

/* ---- life ------------------------------------------------------------------------------------------------------- */

/* So many as POSIX asks for at least: the table is brought back before each execution. */
enum { KEYS = 128 };

static struct {
    void (*destructor)(void *);
    int used;
} rt_key[KEYS];

static void run_exits(struct rt_state *t)
{
    while (t->exits) {
        struct rt_exit *e = t->exits;
        t->exits = e->next;
        e->call(e->argument);
    }
    for (int again = 0, round = 0; round < PTHREAD_DESTRUCTOR_ITERATIONS && (again || !round); round++) {
        again = 0;
        for (int i = 0; t->values && i < KEYS; i++) {
            void *value = t->values[i];
            t->values[i] = 0;
            if (value && rt_key[i].used && rt_key[i].destructor) {
                rt_key[i].destructor(value);
                again = 1;
            }
        }
    }
}

static void end(struct rt_state *t, void *result)
{
    t->result = result;
    run_exits(t);
    rt_point(RT_STORE, &t->ended);
    t->ended = 1;
    rt_changed(&t->ended);
}

struct call {
    int task, argc;
    char **argv;
};

static void run_task(void *argument)
{
    struct call call = *(struct call *)argument;
    struct rt_state *t = &rt_states[call.task];
    void *result = 0;
    if (call.task == 0) {
        int code = main(call.argc, call.argv, call.argv + call.argc);
        if (code)
            rt_wrong(RT_EXIT_CODE, 0, 0, code);
    } else {
        result = t->run(t->argument);
    }
    end(t, result);
}

/* Calls on another stack, whose outermost frame this is for whoever unwinds. */
__attribute__((naked)) static void on_stack(char *stack, void (*call)(void *), void *argument)
{
    (void)stack, (void)call, (void)argument;
    __asm__(".cfi_undefined rip\n push %rbp\n push %rbx\n mov %rsp,%rbx\n xor %ebp,%ebp\n mov %rdi,%rsp\n mov %rdx,%rdi\n"
            "call *%rsi\n mov %rbx,%rsp\n pop %rbx\n pop %rbp\n ret");
}

enum { PIECE = 512, CLEAN = 8 };
typedef uint64_t wide __attribute__((vector_size(32)));

/* What an earlier execution left there would be seen by whoever reads what was never written. So many clean pieces below
   the last one that is not are taken for the end. */
static void clear_stack(char *top)
{
    const char *low = top - RT_STACK_BYTES;
    for (int clean = 0; clean < CLEAN && top > low; clean++) {
        wide *at = (wide *)(top -= PIECE);
        wide a = {0}, b = {0};
        for (int i = 0; i < PIECE / 64; i++) {
            a |= at[2 * i];
            b |= at[2 * i + 1];
        }
        a |= b;
        if (a[0] | a[1] | a[2] | a[3]) {
            for (int i = 0; i < PIECE / 32; i++)
                ((volatile wide *)at)[i] = (wide){0};
            clean = -1;
        }
    }
}

/* The body of a task, called by the lab; stack: where its stack begins. */
ENTRY void rt_body(int task, int argc, char **argv, char *stack)
{
    struct call call = {task, argc, argv};
    if (!task)
        rt_forget_options();
    clear_stack(stack);
    rt_states[task].top = stack;
    on_stack(stack, run_task, &call);
}

static int begin(pthread_t *out, void *(*run)(void *), void *argument, int detached)
{
    int n = rt_host->begin(rt_host->x);
    struct rt_state *t = &rt_states[n];
    t->run = run;
    t->argument = argument;
    t->detached = detached;
    t->blocked = rt_self()->blocked;
    *out = (pthread_t)(n + 1);
    rt_point(RT_STORE, &t->gate);
    t->gate = 1;
    rt_changed(&t->gate);
    return 0;
}

int pthread_create(pthread_t *out, const pthread_attr_t *attributes, void *(*run)(void *), void *argument)
{
    int detached = PTHREAD_CREATE_JOINABLE;
    if (attributes)
        pthread_attr_getdetachstate(attributes, &detached);
    return begin(out, run, argument, detached == PTHREAD_CREATE_DETACHED);
}

static struct rt_state *known(pthread_t thread)
{
    uint64_t n = (uint64_t)thread - 1;
    return n < (uint64_t)rt_host->tasks && (n == 0 || rt_states[n].gate) ? &rt_states[n] : 0;
}

/* What was said of a thread, by whoever has it: looked at behind the point on its end, which orders those who say it. */
static void must_be_joinable(const struct rt_state *t)
{
    if (!t || t->detached || t->joined)
        rt_wrong(RT_BAD_CALL, "pthread_join of a thread that cannot be joined", 0, 0);
}

static int joined(struct rt_state *t, void **result)
{
    must_be_joinable(t);
    t->joined = 1;
    if (result)
        *result = t->result;
    return 0;
}

static int join(pthread_t thread, void **result, const struct timespec *until)
{
    struct rt_state *t = known(thread);
    int ended;
    if (!t)
        must_be_joinable(t);
    if (t == rt_self())
        return EDEADLK;
    if (until && rt_is_late(until)) {
        rt_point(RT_LOAD, &t->ended);
        return t->ended ? joined(t, result) : rt_was_late(until);
    }
    rt_self()->asleep = RT_UNTIL_ENDED;
    ended = rt_host->wait(rt_host->x, RT_AWAIT, &t->ended, RT_UNEQUAL, 0, until != 0);
    rt_self()->asleep = 0;
    return ended ? joined(t, result) : rt_was_late(until);
}

int pthread_join(pthread_t thread, void **result) { return join(thread, result, 0); }

int pthread_timedjoin_np(pthread_t thread, void **result, const struct timespec *until)
{ return rt_bad_time(until) ? EINVAL : join(thread, result, until); }

int pthread_clockjoin_np(pthread_t thread, void **result, clockid_t clock, const struct timespec *until)
{ return (void)clock, pthread_timedjoin_np(thread, result, until); }

int pthread_tryjoin_np(pthread_t thread, void **result)
{
    struct rt_state *t = known(thread);
    if (!t)
        must_be_joinable(t);
    rt_point(RT_LOAD, &t->ended);
    return t->ended ? joined(t, result) : EBUSY;
}

int pthread_detach(pthread_t thread)
{
    struct rt_state *t = known(thread);
    if (!t)
        return ESRCH;
    rt_point(RT_ATOMIC, &t->ended);
    if (t->detached || t->joined)
        return EINVAL;
    t->detached = 1;
    return 0;
}

__attribute__((noreturn)) void pthread_exit(void *result)
{
    end(rt_self(), result);
    rt_host->leave(rt_host->x);
    __builtin_unreachable();
}

pthread_t pthread_self(void) { return (pthread_t)(rt_task() + 1); }
int pthread_equal(pthread_t a, pthread_t b) { return a == b; }
int pthread_setname_np(pthread_t thread, const char *name) { return (void)thread, (void)name, 0; }
int pthread_setschedparam(pthread_t t, int policy, const struct sched_param *p) { return (void)t, (void)policy, (void)p, 0; }
int pthread_setaffinity_np(pthread_t t, size_t n, const cpu_set_t *set) { return (void)t, (void)n, (void)set, 0; }
static int told_old(int *old, int was)
{
    if (old)
        rt_writes(old, sizeof *old), *old = was;
    return 0;
}

int pthread_setcancelstate(int state, int *old) { return (void)state, told_old(old, PTHREAD_CANCEL_ENABLE); }
int pthread_setcanceltype(int type, int *old) { return (void)type, told_old(old, PTHREAD_CANCEL_DEFERRED); }
void pthread_testcancel(void) { }

/* ---- once -------------------------------------------------------------------------------------------------------- */

enum { ONCE_BEGUN = 1, ONCE_DONE = 2 };

int pthread_once(pthread_once_t *once, void (*call)(void))
{
    /* Nobody looks before the point: what is announced must not depend on who came first. */
    rt_point(RT_ATOMIC, once);
    if (*once == 0) {
        *once = ONCE_BEGUN;
        call();
        rt_point(RT_STORE, once);
        *once = ONCE_DONE;
        rt_changed(once);
    } else if (*once == ONCE_BEGUN) {
        rt_wait(RT_AWAIT, (int64_t *)once, RT_BITS, ONCE_DONE);
    }
    return 0;
}

/* ---- a thread's own ------------------------------------------------------------------------------------------------ */

int pthread_key_create(pthread_key_t *out, void (*destructor)(void *))
{
    for (unsigned i = 0; i < KEYS; i++) {
        if (!rt_key[i].used) {
            rt_key[i].used = 1;
            rt_key[i].destructor = destructor;
            *out = i;
            return 0;
        }
    }
    return EAGAIN;
}

int __pthread_key_create(pthread_key_t *out, void (*destructor)(void *)) { return pthread_key_create(out, destructor); }

int pthread_key_delete(pthread_key_t key)
{
    if (key >= KEYS || !rt_key[key].used)
        return EINVAL;
    rt_key[key].used = 0;
    return 0;
}

int pthread_setspecific(pthread_key_t key, const void *value)
{
    struct rt_state *t = rt_self();
    if (key >= KEYS || !rt_key[key].used)
        return EINVAL;
    if (!t->values)
        t->values = get(KEYS * sizeof(void *), 16);
    rt_writes(&t->values[key], sizeof(void *));
    t->values[key] = (void *)value;
    return 0;
}

void *pthread_getspecific(pthread_key_t key)
{
    struct rt_state *t = rt_self();
    return t->values && key < KEYS ? t->values[key] : 0;
}

void *__tls_get_addr(const uint64_t *index)
{
    struct rt_state *t = rt_self();
    if (!t->block) {
        char *block = get(rt_tls_size, rt_tls_align);
        for (uint64_t i = 0; i < rt_tls_filled; i++)
            ((volatile char *)block)[i] = rt_tls_image[i];
        t->block = block;
    }
    return (char *)t->block + index[1];
}

int *__errno_location(void) { return &rt_self()->error; }

int __cxa_thread_atexit(void (*call)(void *), void *argument, void *dso)
{
    struct rt_state *t = rt_self();
    struct rt_exit *e = get(sizeof *e, 16);
    (void)dso;
    e->call = call;
    e->argument = argument;
    e->next = t->exits;
    t->exits = e;
    return 0;
}

int __cxa_thread_atexit_impl(void (*call)(void *), void *argument, void *dso)
{ return __cxa_thread_atexit(call, argument, dso); }
