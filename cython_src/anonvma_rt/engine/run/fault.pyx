"""The handler of faults (see fault.pxd)."""

from libc.stdint cimport int64_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memset
from posix.unistd cimport write

from anonvma_rt.engine.base.os cimport pthread_t, rt_backtrace
from anonvma_rt.engine.run.task cimport HALT_VIOLATION, MAX_FRAMES, VIOLATION_STACK_OVERFLOW, Execution, found

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <errno.h>
    #include <pthread.h>
    #include <signal.h>
    #include <stdint.h>
    #include <stdlib.h>
    #include <sys/mman.h>
    #include <unistd.h>

    #define RT_OTHER_STACK (64 << 10)
    /* Asks a thread to leave: no access that goes wrong has this number and comes from a process. */
    #define RT_ASKED SIGBUS

    typedef int (*rt_told)(void *guard, int number, uint64_t address, int nowhere);
    typedef void (*rt_gone)(void *guard);

    static const int rt_faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };
    enum { RT_FAULTS = sizeof rt_faults / sizeof *rt_faults };
    static struct sigaction rt_usual[NSIG];
    static char rt_handed_on[NSIG];
    static rt_told rt_tell;
    static rt_gone rt_say;
    static __thread void *rt_guard;

    static void rt_on_fault(int number, siginfo_t *info, void *context)
    {
        int before = errno;
        int sent = info->si_code <= 0, own = sent && info->si_code != SI_USER && info->si_pid == getpid();
        (void)context;
        if (rt_guard && (!sent || own)) {
            int asked = sent && number == RT_ASKED;
            rt_tell(rt_guard, asked ? 0 : number, sent ? 0 : (uint64_t)(uintptr_t)info->si_addr,
                    !sent && number == SIGSEGV && info->si_code == SI_KERNEL);
            if (asked) {
                errno = before;
                return;
            }
        }
        /* It comes again and is somebody else's then. Twice the same: they hand it on to us. */
        if (rt_handed_on[number]++ || rt_usual[number].sa_sigaction == rt_on_fault)
            signal(number, SIG_DFL);
        else
            sigaction(number, &rt_usual[number], NULL);
        errno = before;
        if (sent)
            raise(number);
    }

    static void rt_on_exit(int status, void *unused)
    {
        (void)unused, (void)status;
        if (rt_guard)
            rt_say(rt_guard);
    }

    static void rt_guards_open(rt_told tell, rt_gone say)
    {
        static int known;
        /* Not deferred, because the handler is left by a long jump. */
        int flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
        struct sigaction now, action = { .sa_sigaction = rt_on_fault, .sa_flags = flags };
        rt_tell = tell;
        rt_say = say;
        for (int i = 0; i < RT_FAULTS; i++) {
            int number = rt_faults[i];
            sigaction(number, NULL, &now);
            if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == rt_on_fault)
                continue;
            rt_usual[number] = now;
            rt_handed_on[number] = 0;
            sigaction(number, &action, NULL);
        }
        if (known++)
            return;
        on_exit(rt_on_exit, NULL);
    }

    static char *rt_guard_enter(void *guard, pthread_t *thread, uint64_t *low, uint64_t *size)
    {
        stack_t stack = { .ss_size = RT_OTHER_STACK };
        sigset_t faults;
        pthread_attr_t attributes;
        void *bottom = NULL;
        size_t bytes = 0;
        rt_guard = guard;
        *thread = pthread_self();
        if (pthread_getattr_np(*thread, &attributes) == 0) {
            pthread_attr_getstack(&attributes, &bottom, &bytes);
            pthread_attr_destroy(&attributes);
        }
        *low = (uint64_t)(uintptr_t)bottom;
        *size = bytes;
        stack.ss_sp = mmap(NULL, RT_OTHER_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (stack.ss_sp == MAP_FAILED)
            stack.ss_sp = NULL;
        else
            sigaltstack(&stack, NULL);
        sigemptyset(&faults);
        for (int i = 0; i < RT_FAULTS; i++)
            sigaddset(&faults, rt_faults[i]);
        pthread_sigmask(SIG_UNBLOCK, &faults, NULL);
        return stack.ss_sp;
    }

    static void rt_guard_leave(char *other)
    {
        stack_t stack = { .ss_flags = SS_DISABLE };
        rt_guard = NULL;
        if (other) {
            sigaltstack(&stack, NULL);
            munmap(other, RT_OTHER_STACK);
        }
    }

    static void *rt_guard_swap(void *guard)
    {
        void *before = rt_guard;
        rt_guard = guard;
        return before;
    }

    static void rt_guard_ask(pthread_t thread) { pthread_kill(thread, RT_ASKED); }
    """
    ctypedef int (*rt_told)(void *guard, int number, uint64_t address, int nowhere) noexcept nogil
    ctypedef void (*rt_gone)(void *guard) noexcept nogil
    void rt_guards_open(rt_told tell, rt_gone say) noexcept nogil
    char *rt_guard_enter(void *guard, pthread_t *thread, uint64_t *low, uint64_t *size) noexcept nogil
    void rt_guard_leave(char *other) noexcept nogil
    void *rt_guard_swap(void *guard) noexcept nogil
    void rt_guard_ask(pthread_t thread) noexcept nogil


cdef int tell(void *guard, int number, uint64_t address, int nowhere) noexcept nogil:
    cdef Guard *g = <Guard *>guard
    cdef Fault fault
    fault.signal = number
    fault.address = address
    fault.nowhere = nowhere
    g.faulted(g.argument, &fault)
    return 0


cdef void say(void *guard) noexcept nogil:
    cdef Guard *g = <Guard *>guard
    if g.exited != NULL:
        g.exited(g.argument)


cdef int guards_open() except -1:
    """Installs the handler, also where somebody has put another one in its place since. Needs the GIL, as a lock."""
    cdef void *frames[1]
    rt_guards_open(tell, say)
    # The first call loads a library, which no handler can.
    rt_backtrace(frames, 1)
    return 0


cdef void guard_enter(Guard *g) noexcept nogil:
    """This thread is guarded by g from now on, and has a second stack for the handler."""
    g.other_stack = rt_guard_enter(g, &g.thread, &g.low, &g.size)


cdef void guard_leave(Guard *g) noexcept nogil:
    rt_guard_leave(g.other_stack)
    g.other_stack = NULL


cdef Guard *guard_swap(Guard *g) noexcept nogil:
    """Guards this thread by g for a while and returns who did before; for a thread that handles its own signals."""
    return <Guard *>rt_guard_swap(g)


cdef void guard_ask(Guard *g) noexcept nogil:
    """Asks the thread of g to leave what it is doing: its guard is told of a fault without a signal."""
    rt_guard_ask(g.thread)


cdef void crashed(Execution *x, Fault *fault, int task, int kind, int64_t a) noexcept nogil:
    """Notes the violation for which a body is about to be left, and where it was: b is an offset into the arena, or -1,
    because where the arena lies is chance; c says that no address space has the address."""
    cdef int64_t place = -1
    if <uint64_t>x.arena.base <= fault.address < <uint64_t>x.arena.base + x.arena.now.used:
        place = <int64_t>(fault.address - <uint64_t>x.arena.base)
    found(x, kind, task, a, place, fault.nowhere)
    x.halt = HALT_VIOLATION
    x.crash.address = fault.address
    # A stack that has no room left has many frames, all alike.
    x.crash.n = 0 if kind == VIOLATION_STACK_OVERFLOW else rt_backtrace(x.crash.frames, MAX_FRAMES)


cdef void complain(const char *what, uint64_t index, int task, uint64_t step) noexcept nogil:
    """One line on stderr, where the process is about to end."""
    cdef char line[256]
    cdef int n
    memset(line, 0, sizeof(line))
    n = snprintf(line, sizeof(line), b"anonvma-rt: task %d %s in step %llu of execution %llu\n", task, what,
                 <unsigned long long>step, <unsigned long long>index)
    if n > 0:
        write(2, line, <size_t>min(n, 255))
