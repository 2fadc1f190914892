/* A queue without locks, as Michael and Scott have it: a list, whose first node is a dummy that somebody has taken already.

   As it stands a push that has seen that a node is the last one writes behind it, and does not compare and swap: what another
   has put there meanwhile is lost. */

#include <anonvma_rt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#ifndef FIXED
#define FIXED 0
#endif
#ifndef PUSHES
#define PUSHES 1
#endif

struct node {
    long value;
    _Atomic(struct node *) next;
};

static _Atomic(struct node *) head, tail;

static struct node *node_of(long value)
{
    struct node *made = malloc(sizeof *made);
    made->value = value;
    atomic_init(&made->next, NULL);
    return made;
}

static void push(long value)
{
    struct node *made = node_of(value);
    rt_call("push", value);
    for (;;) {
        struct node *last = tail, *next = last->next;
        if (next) {
            atomic_compare_exchange_strong(&tail, &last, next);
        } else if (!FIXED) {
            /* It may have one by now. */
            last->next = made;
            break;
        } else if (atomic_compare_exchange_strong(&last->next, &next, made)) {
            break;
        }
    }
    struct node *last = tail;
    if (last->next == made)
        atomic_compare_exchange_strong(&tail, &last, made);
    rt_return();
}

/* -1: it is empty. */
static long pop(void)
{
    rt_call("pop");
    for (;;) {
        struct node *first = head, *last = tail, *next = first->next;
        if (!next) {
            rt_return(-1);
            return -1;
        }
        if (first == last) {
            atomic_compare_exchange_strong(&tail, &last, next);
        } else {
            long value = next->value;
            if (atomic_compare_exchange_strong(&head, &first, next)) {
                rt_return(value);
                return value;
            }
        }
    }
}

static void *pushes(void *argument)
{
    for (long i = 0; i < PUSHES; i++)
        push(10 * (long)argument + i);
    return NULL;
}

int main(void)
{
    pthread_t thread[2];
    head = tail = node_of(0);
    pthread_create(&thread[0], NULL, pushes, (void *)1);
    pthread_create(&thread[1], NULL, pushes, (void *)2);
    pop();
    pthread_join(thread[0], NULL);
    pthread_join(thread[1], NULL);
    pop();
    return 0;
}
