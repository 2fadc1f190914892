"""All tasks at once on OS threads, under seeded delays."""
