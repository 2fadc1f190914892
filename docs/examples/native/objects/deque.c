/* A deque for work stealing, as Chase and Lev have it: the owner pushes and takes at the bottom, thieves steal at the top.

   As it stands the owner looks at the top before it has said that it takes the last one, as it does on a processor that
   puts a load before an earlier store: then a thief and the owner get the same piece of work. */

#include <anonvma_rt.h>
#include <pthread.h>
#include <stdatomic.h>

#ifndef FIXED
#define FIXED 0
#endif
#ifndef WORK
#define WORK 2
#endif

static atomic_long item[8];
static atomic_long top, bottom;

static void push(long value)
{
    rt_call("push", value);
    long b = bottom;
    item[b] = value;
    bottom = b + 1;
    rt_return();
}

/* -1: there is nothing. */
static long take_last(void)
{
    long b = bottom - 1, t, value = -1;
    if (!FIXED) {
        t = top;
        bottom = b;
    } else {
        bottom = b;
        t = top;
    }
    if (t < b)
        return item[b];
    if (t == b && atomic_compare_exchange_strong(&top, &t, t + 1))
        value = item[b];
    bottom = b + 1;
    return value;
}

static long take(void)
{
    rt_call("pop");
    long value = take_last();
    rt_return(value);
    return value;
}

static long steal(void)
{
    rt_call("steal");
    for (;;) {
        long t = top, b = bottom;
        if (t >= b) {
            rt_return(-1);
            return -1;
        }
        long value = item[t];
        if (atomic_compare_exchange_strong(&top, &t, t + 1)) {
            rt_return(value);
            return value;
        }
    }
}

static void *thief(void *argument)
{
    steal();
    steal();
    return argument;
}

int main(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, thief, NULL);
    for (int i = 1; i <= WORK; i++)
        push(i);
    take();
    take();
    pthread_join(thread, NULL);
    return 0;
}
