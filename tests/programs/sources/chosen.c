/* Each of N numbers may be chosen. */
#include <assert.h>

int rt_choose(int n);

#ifndef N
#define N 5
#endif
#ifndef NOT
#define NOT 4
#endif

int main(void)
{
    assert(rt_choose(N) != NOT);
    return 0;
}
