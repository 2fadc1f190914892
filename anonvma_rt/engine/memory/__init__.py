"""How the stores of tasks become visible to the others: at once, or by buffers."""
