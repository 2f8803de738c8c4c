"""One-off commands on the active node of this machine: its door, its asker, its process."""
