/* Threads go on one after the other, and give way until it is their turn; they call a library that nobody can look into.
   No fair schedule lets one of them ask for ever. */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef N
#define N 3
#endif
#ifndef ROUNDS
#define ROUNDS 3
#endif

static volatile int turn;
static char text[64]; static int asks[N];

static void *take_turns(void *given)
{
    int me = (int)(long)given;
    for (int i = 0; i < ROUNDS; i++) {
        while (turn != me) {
            char unseen[64] = "";
            asks[me]++; strcat(unseen, "asks");
            sched_yield();
        }
        turn = (me + 1) % N;
    }
    return NULL;
}

int main(void)
{
    pthread_t thread[N];
    for (long i = 0; i < N; i++)
        pthread_create(&thread[i], NULL, take_turns, (void *)i);
    for (int i = 0; i < N; i++)
        pthread_join(thread[i], NULL);
    return text[0];
}
