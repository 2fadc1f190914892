"""Benchmarks: each prints ratios taken in one interleaved run."""
