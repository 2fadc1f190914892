"""Programs of others that judge the lab: SCTBench and GenMC's own tests, from a checkout that the user names.

Nothing of them is kept here. `python -m anonvma_rt.stress.judges` runs them and prints what was found beside what was
expected.
"""
