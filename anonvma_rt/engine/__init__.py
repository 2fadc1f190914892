"""Threads, locks and schedules; knows nothing of memory management. The compiled modules are installed here."""
