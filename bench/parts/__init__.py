"""The parts of the benchmarks page, one module each."""
