/* The nogil functions of tally.pyx, called by two threads. Python itself is linked to and never entered.

     cython tally.pyx
     anonvma-rt hunt main.c tally.c --cflags "$(python3-config --includes)" --link -Wl,-z,undefs
     anonvma-rt verify main.c tally.c -p FIXED=1 --cflags "$(python3-config --includes)" --link -Wl,-z,undefs */

#include <assert.h>
#include <pthread.h>

void tally_add(long n);
long tally_total(void);

static void *add_one(void *unused)
{
    tally_add(1);
    return unused;
}

int main(void)
{
    pthread_t thread[2];

    for (int i = 0; i < 2; i++)
        pthread_create(&thread[i], NULL, add_one, NULL);
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    assert(tally_total() == 2);
    return 0;
}
