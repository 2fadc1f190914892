/* All of it: see linux.h. */
#include "../linux.h"
