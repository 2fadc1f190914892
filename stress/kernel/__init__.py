"""The program of 2011 for a real kernel: one C file, which `anonvma-rt kernel` builds and runs."""
