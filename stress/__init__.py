"""Campaigns and benchmarks, installed as anonvma_rt.stress."""
