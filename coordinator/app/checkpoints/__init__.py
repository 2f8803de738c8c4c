"""Checkpoints: content, devices and catalogue brought together."""
