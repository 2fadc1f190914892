/* Does what its arguments say, one for each thread: operations on a register, some of which are not atomic, with their calls and
   returns; and other steps between them. */
#include <anonvma_rt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

static atomic_long held, other;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void put(long value)
{
    rt_call("put", value);
    held = value;
    rt_return();
}

static void *run(void *argument)
{
    for (const char *step = argument; *step; step++) {
        long was;
        switch (*step) {
        case '1': put(1); break;
        case '2': put(2); break;
        case 'g':
            rt_call("get");
            rt_return(held);
            break;
        /* A number that nobody has twice. */
        case 'n':
            rt_call("next");
            rt_return(++held);
            break;
        /* The same in two steps. */
        case 'N':
            rt_call("next");
            was = held + 1;
            held = was;
            rt_return(was);
            break;
        /* What is looked at before the operation began, or told when it is over. */
        case 'G':
            was = held;
            rt_call("get");
            rt_return(was);
            break;
        case 'l': pthread_mutex_lock(&lock); break;
        case 'u': pthread_mutex_unlock(&lock); break;
        case 'o': other++; break;
        case 'c':
            if (rt_choose(2))
                put(3);
            break;
        case 'e': exit(0);
        }
    }
    return NULL;
}

int main(int n, char **script)
{
    pthread_t thread[8];
    for (int i = 1; i < n; i++)
        pthread_create(&thread[i], NULL, run, script[i]);
    for (int i = 1; i < n; i++)
        pthread_join(thread[i], NULL);
    return 0;
}
