"""Measure what the documentation quotes: `python -m bench all --out docs/benchmarks.md`."""
