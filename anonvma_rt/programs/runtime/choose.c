/* rt_choose(): a number that is the schedule's choice, so that a search tries each and a replay makes the same. */

#include "runtime.h"

/* 0 to n - 1. Halves what is left until one number is, so that every number is one way through. */
int rt_choose(int n)
{
    int low = 0;
    if (n < 1)
        rt_wrong(RT_BAD_CALL, "rt_choose() of less than one number", 0, 0);
    while (n > 1) {
        int half = n / 2;
        if (rt_host->chance(rt_host->x, RT_CHANCE_OWN, 0)) {
            low += n - half;
            n = half;
        } else {
            n -= half;
        }
    }
    return low;
}
