"""What a queue, a stack and a work-stealing deque are, one operation after the other."""


class Queue:
    def __init__(self):
        self.items = []

    def push(self, value):
        self.items.append(value)

    def pop(self):
        return self.items.pop(0) if self.items else -1


class Stack(Queue):
    def pop(self):
        return self.items.pop() if self.items else -1


class Deque(Stack):
    """The owner pushes and pops at one end, and thieves steal at the other."""

    def steal(self):
        return self.items.pop(0) if self.items else -1
