/* What a program asks of the system around it: its end, random numbers, what it prints.

   Random numbers are a fixed sequence for each thread. So they do not depend on the interleaving, and the same schedule
   gives the same execution. */

#define _GNU_SOURCE
#include "runtime.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void *__dso_handle = &__dso_handle;

/* ---- the end ------------------------------------------------------------------------------------------------------- */

__attribute__((noreturn)) void __assert_fail(const char *said, const char *file, unsigned line, const char *function)
{
    (void)function;
    rt_wrong(RT_ASSERTION, said, file, line);
    __builtin_unreachable();
}

extern void *__cxa_current_exception_type(void) __attribute__((weak));

__attribute__((noreturn)) void abort(void)
{
    void *type = __cxa_current_exception_type ? __cxa_current_exception_type() : 0;
    /* A type_info: its table, then its name. */
    rt_wrong(type ? RT_UNCAUGHT : RT_ABORT, type ? ((const char **)type)[1] : 0, 0, 0);
    __builtin_unreachable();
}

/* The end of all is a step: whatever others do before it is explored. */
static int64_t rt_the_end;

__attribute__((noreturn)) void exit(int code)
{
    rt_point(RT_STORE, &rt_the_end);
    rt_host->exit(rt_host->x, code);
    __builtin_unreachable();
}

__attribute__((noreturn)) void _exit(int code) { exit(code); }
__attribute__((noreturn)) void _Exit(int code) { exit(code); }
__attribute__((noreturn)) void quick_exit(int code) { exit(code); }
int atexit(void (*call)(void)) { return (void)call, 0; }
int __cxa_atexit(void (*call)(void *), void *argument, void *dso) { return (void)call, (void)argument, (void)dso, 0; }
void __cxa_finalize(void *dso) { (void)dso; }

/* ---- chance ------------------------------------------------------------------------------------------------------- */

static uint64_t draw(void)
{
    uint64_t *state = &rt_self()->draws;
    uint64_t n = *state += 0x9E3779B97F4A7C15ULL;
    n = (n ^ n >> 30) * 0xBF58476D1CE4E5B9ULL;
    n = (n ^ n >> 27) * 0x94D049BB133111EBULL;
    return n ^ n >> 31;
}

void srand(unsigned seed) { rt_self()->draws = seed; }
void srandom(unsigned seed) { srand(seed); }
void srand48(long seed) { srand((unsigned)seed); }
int rand(void) { return (int)(draw() >> 33); }
long random(void) { return (long)(draw() >> 33); }
double drand48(void) { return (double)(draw() >> 11) / 9007199254740992.0; }
long lrand48(void) { return (long)(draw() >> 33); }
int rand_r(unsigned *seed) { rt_writes(seed, sizeof *seed); *seed = *seed * 1103515245 + 12345; return (int)(*seed >> 1); }

/* ---- what it prints -------------------------------------------------------------------------------------------------- */

static int ours(FILE *file) { return file == stdout || file == stderr; }
static void print(const char *text, size_t n) { rt_host->print(rt_host->x, text, n); }

extern int __vfprintf_chk(FILE *, int, const char *, va_list);

int vfprintf(FILE *restrict file, const char *restrict form, va_list arguments)
{
    char line[1024];
    int n;
    if (!ours(file))
        return __vfprintf_chk(file, 0, form, arguments);
    n = vsnprintf(line, sizeof line, form, arguments);
    if (n > 0)
        print(line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
    return n;
}

int vprintf(const char *restrict form, va_list arguments) { return vfprintf(stdout, form, arguments); }

#define FORWARD(file) \
    va_list arguments; \
    int n; \
    va_start(arguments, form); \
    n = vfprintf(file, form, arguments); \
    va_end(arguments); \
    return n;

int printf(const char *restrict form, ...) { FORWARD(stdout) }
int fprintf(FILE *restrict file, const char *restrict form, ...) { FORWARD(file) }
int __printf_chk(int flag, const char *form, ...) { (void)flag; FORWARD(stdout) }
int __fprintf_chk(FILE *file, int flag, const char *form, ...) { (void)flag; FORWARD(file) }

int fputs(const char *restrict text, FILE *restrict file)
{
    size_t n = __builtin_strlen(text);
    if (!ours(file))
        return (int)fwrite_unlocked(text, 1, n, file);
    print(text, n);
    return 1;
}

int puts(const char *text)
{
    fputs(text, stdout);
    print("\n", 1);
    return 1;
}

int fputc(int c, FILE *file)
{
    char text = (char)c;
    if (!ours(file))
        return putc_unlocked(c, file);
    print(&text, 1);
    return c;
}

#undef putc
#undef putchar
int putc(int c, FILE *file) { return fputc(c, file); }
int putchar(int c) { return fputc(c, stdout); }
int _IO_putc(int c, FILE *file) { return fputc(c, file); }

size_t fwrite(const void *restrict data, size_t size, size_t n, FILE *restrict file)
{
    if (!ours(file))
        return fwrite_unlocked(data, size, n, file);
    print(data, size * n);
    return n;
}

int fflush(FILE *file) { return file && !ours(file) ? fflush_unlocked(file) : 0; }
void perror(const char *said) { fprintf(stderr, "%s: error %d\n", said, errno); }
