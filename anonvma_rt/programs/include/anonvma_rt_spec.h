/* A sequential specification in C (--spec file.c): these three, and nothing shared. A state is rt_spec_size bytes, all zero
   at the beginning, with no pointers in it: states are copied, and equal bytes are one state. */

#ifndef ANONVMA_RT_SPEC
#define ANONVMA_RT_SPEC

enum { RT_NO_SUCH_OPERATION, RT_VALUE, RT_NO_VALUE };

extern const unsigned long rt_spec_size;

/* Makes the operation, whose argument is 0 where it has none: which of the three above it is, and its value. */
int rt_spec_call(void *state, const char *name, long argument, long *value);

#endif
