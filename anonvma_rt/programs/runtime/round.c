/* What a thread has that decides what it does next, beside the memory that it shares: its registers, its stack, its clock.
   Where that is the same at the same place and it has written nothing in between, it goes round in a circle. */

#include "runtime.h"

static inline uint64_t mixed(uint64_t state, uint64_t word)
{
    state = (state ^ word) * 0x9FB21C651E98DF25ULL;
    return state ^ state >> 32;
}

/* frame: of the function that the program called, which has put all registers that a call keeps right below it; NULL: this
   one's. What else lies below is no state of the program's. */
__attribute__((noinline)) void rt_tell_round(const void *frame)
{
    __builtin_unwind_init();
    const struct rt_state *t = rt_self();
    const uint64_t *word = frame ? frame : __builtin_frame_address(0);
    const uint64_t *top = (const uint64_t *)t->top;
    uint64_t state = mixed(mixed((uint64_t)word, t->asked ? t->looks : 0), t->draws + rt_options_read) ^ t->blocked;
    for (word -= 5; word < top; word++)
        state = mixed(state, *word);
    rt_host->round(rt_host->x, state);
}
