"""What is told of the executions of a compiled program."""
