"""Programs in C and C++ as they stand, compiled with the compiler's own calls, as subjects."""
