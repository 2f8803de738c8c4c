"""Erasure-coded segments of checkpoints (empty until checkpoints come)."""
