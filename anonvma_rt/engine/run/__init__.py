"""One execution after the other: tasks, their operations, who runs them."""
