"""Litmus files in herd's formats: the C of the kernel's memory model, and the tables of x86 and x86_64."""
