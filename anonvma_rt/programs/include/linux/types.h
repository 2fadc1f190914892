/* A program that is no kernel code gets here through the C library, and finds the system's own file. */
#include_next <linux/types.h>
#if __INCLUDE_LEVEL__ == 1 || defined(ANONVMA_RT_LINUX)
#include "../linux.h"
#endif
