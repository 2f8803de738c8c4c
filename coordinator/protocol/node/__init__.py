"""The machine of one node: events in, commands out."""
