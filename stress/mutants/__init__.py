"""Mistakes in the engine, made on purpose, each with the test that sees it: `python -m anonvma_rt.stress.mutants`."""
