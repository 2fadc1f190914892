/* A cell that two threads may both set: whoever comes second loses what the first one put there (-DRIGHT: it frees its
   own). With LIST, what is kept at the end hangs on a global. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

struct node {
    struct node *next;
    int value;
};

static _Atomic(struct node *) cell;
static struct node *kept;
static __thread struct node *own;

static void *set(void *unused)
{
    struct node *made = malloc(sizeof *made), *none = NULL;
    made->value = 1;
    own = made;
#ifdef RIGHT
    if (!atomic_compare_exchange_strong(&cell, &none, made))
        free(made);
#else
    if (!atomic_load(&cell))
        atomic_store(&cell, made);
    else
        free(made);
    (void)none;
#endif
    return unused;
}

int main(void)
{
    pthread_t thread[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&thread[i], NULL, set, NULL);
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    for (int i = 0; i < 2; i++) {
        struct node *more = malloc(sizeof *more);
        more->next = kept;
        kept = more;
    }
    own = malloc(sizeof *own);
#ifdef EXIT
    exit(0);
#endif
    return 0;
}
