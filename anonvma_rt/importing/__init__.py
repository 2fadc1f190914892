"""Scenarios of what people have: a log of strace, or a program of syzkaller (docs/scenarios.md, "From a log")."""
