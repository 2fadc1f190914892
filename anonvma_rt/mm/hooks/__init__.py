"""What the kernel's files tell others: notes, marks, an ordering rule, the root's lock."""
