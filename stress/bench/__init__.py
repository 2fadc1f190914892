"""Benchmarks, each a module with `run(options)`, which measures, and `text(result)`, which says it in a table.

Ratios are taken in one interleaved run, because shared machines are noisy; and nobody prints a rate before it has seen
that the executions did what they should.
"""
