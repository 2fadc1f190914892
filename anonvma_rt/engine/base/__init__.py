"""What the engine stands on: the operating system, random numbers, memory, lists."""
