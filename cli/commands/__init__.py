"""The commands of `coord`, one module each."""
