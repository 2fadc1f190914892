"""Whether every access is ordered by what the tasks announce; compiled."""
