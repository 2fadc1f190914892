/* What GenMC's tests ask of their checker, in terms of POSIX: a stand-in for a header of the same name.

   An assumption that does not hold ends its thread's part in the execution: it waits for what never comes, while the
   others go on. Such executions end in a deadlock, and are not among those that GenMC counts. */

#ifndef ANONVMA_RT_JUDGES_GENMC
#define ANONVMA_RT_JUDGES_GENMC

#include <inttypes.h>
#include <semaphore.h>
#include <stdlib.h>

static inline __attribute__((unused)) void __VERIFIER_assume(int holds)
{
    sem_t never;
    if (holds)
        return;
    sem_init(&never, 0, 0);
    sem_wait(&never);
}

#endif
