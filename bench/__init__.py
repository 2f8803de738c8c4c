"""What the documentation quotes, measured: `python -m bench all --out docs/benchmarks.md`."""
