"""Strategy by subject: how many executions each strategy needs until it finds each known bug (`bench search`).

`first` has the definition of that number, which the judges share; `rows` the subjects; `table` the figures and their
text.
"""
