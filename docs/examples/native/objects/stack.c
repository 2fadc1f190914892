/* A stack without locks, as Treiber has it: a list, whose nodes are used again when they were taken.

   As it stands the top is a node, and a pop that has seen A on top of B puts B on top when A is there: also when A has been
   taken meanwhile, B too, and A has come back. With FIXED=1 the top has a count of its changes beside the node. */

#include <anonvma_rt.h>
#include <pthread.h>
#include <stdatomic.h>

#ifndef FIXED
#define FIXED 0
#endif

enum { NONE = 0, COUNT = 1 << 8 };

/* Nodes by number from 1 on; top: the number, and COUNT times how often it was changed. */
static struct { atomic_int value, next; } node[4];
static atomic_int top;

static int changed(int old, int number) { return FIXED ? (old & ~(COUNT - 1)) + COUNT + number : number; }

static void push(int number, int value)
{
    rt_call("push", value);
    node[number].value = value;
    int old = top;
    do
        node[number].next = old % COUNT;
    while (!atomic_compare_exchange_strong(&top, &old, changed(old, number)));
    rt_return();
}

/* The number of the node that was taken. */
static int pop(void)
{
    rt_call("pop");
    int old = top;
    while (old % COUNT != NONE && !atomic_compare_exchange_strong(&top, &old, changed(old, node[old % COUNT].next)))
        ;
    int taken = old % COUNT;
    rt_return(taken == NONE ? -1 : node[taken].value);
    return taken;
}

static void *pops(void *argument)
{
    pop();
    return argument;
}

int main(void)
{
    pthread_t thread;
    push(1, 10);
    push(2, 20);
    pthread_create(&thread, NULL, pops, NULL);
    int taken = pop();
    pop();
    if (taken)
        push(taken, 30);
    pthread_join(thread, NULL);
    pop();
    return 0;
}
