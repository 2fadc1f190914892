"""Is all that tasks share announced? Modules built so that they tell every access, and what was found with them."""
