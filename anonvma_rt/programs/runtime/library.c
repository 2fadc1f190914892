/* What the C library keeps for itself, outside of the program's memory, so that nobody brings it back: which argument
   getopt() is at. It begins anew in each execution. And the handlers of signals, which are kept here: no signal comes. */

#define _GNU_SOURCE
#include "runtime.h"

#include <dlfcn.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>

/* ---- the arguments of main -------------------------------------------------------------------------------------------- */

uint64_t rt_options_read;

/* As in a new process: where nobody has said where to begin, 0 makes the library forget. */
static void *option_reader(const char *name)
{
    if (!rt_options_read++ && optind < 2)
        optind = 0;
    return dlsym(RTLD_DEFAULT, name);
}

void rt_forget_options(void)
{
    optind = opterr = 1;
    optarg = 0;
}

int getopt(int n, char *const *words, const char *letters)
{ return ((int (*)(int, char *const *, const char *))option_reader("getopt"))(n, words, letters); }

typedef int (*long_reader)(int, char *const *, const char *, const struct option *, int *);
int getopt_long(int n, char *const *words, const char *letters, const struct option *names, int *at)
{ return ((long_reader)option_reader("getopt_long"))(n, words, letters, names, at); }
int getopt_long_only(int n, char *const *words, const char *letters, const struct option *names, int *at)
{ return ((long_reader)option_reader("getopt_long_only"))(n, words, letters, names, at); }

/* ---- signals ------------------------------------------------------------------------------------------------------------ */

enum { SIGNALS = 65 };

/* Small: what a program has is brought back before each execution. The first word of a set has all signals. */
static struct { void *call; uint64_t blocked; int flags; } handlers[SIGNALS];

static uint64_t of_set(const sigset_t *set)
{
    uint64_t word;
    __builtin_memcpy(&word, set, sizeof word);
    return word;
}

static void to_set(sigset_t *set, uint64_t word)
{
    rt_writes(set, sizeof *set);
    sigemptyset(set);
    __builtin_memcpy(set, &word, sizeof word);
}

int sigaction(int number, const struct sigaction *restrict handler, struct sigaction *restrict old)
{
    if (number < 1 || number >= SIGNALS || (handler && (number == SIGKILL || number == SIGSTOP))) {
        errno = EINVAL;
        return -1;
    }
    rt_point(handler ? RT_ATOMIC : RT_LOAD, &handlers[number]);
    if (old) {
        rt_writes(old, sizeof *old);
        *old = (struct sigaction){.sa_flags = handlers[number].flags};
        old->sa_handler = (sighandler_t)handlers[number].call;
        to_set(&old->sa_mask, handlers[number].blocked);
    }
    if (handler) {
        handlers[number].call = (void *)handler->sa_handler;
        handlers[number].blocked = of_set(&handler->sa_mask);
        handlers[number].flags = handler->sa_flags;
    }
    return 0;
}

sighandler_t signal(int number, sighandler_t handler)
{
    struct sigaction one = {.sa_handler = handler, .sa_flags = SA_RESTART}, old;
    return sigaction(number, &one, &old) ? SIG_ERR : old.sa_handler;
}

int pthread_sigmask(int how, const sigset_t *restrict set, sigset_t *restrict old)
{
    uint64_t *mask = &rt_self()->blocked, was = *mask, given = set ? of_set(set) : 0;
    if (set && how != SIG_SETMASK && how != SIG_BLOCK && how != SIG_UNBLOCK)
        return EINVAL;
    if (set)
        *mask = how == SIG_BLOCK ? was | given : how == SIG_UNBLOCK ? was & ~given : given;
    if (old)
        to_set(old, was);
    return 0;
}

int sigprocmask(int how, const sigset_t *restrict set, sigset_t *restrict old)
{
    int error = pthread_sigmask(how, set, old);
    if (error)
        errno = error;
    return error ? -1 : 0;
}
