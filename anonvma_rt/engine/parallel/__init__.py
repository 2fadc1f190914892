"""All tasks at once."""
