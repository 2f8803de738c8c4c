"""Deliveries of a group's events to its webhook, in a process beside the node (ADR 42)."""
