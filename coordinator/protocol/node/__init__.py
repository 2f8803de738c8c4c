"""The machine of one node: what happened goes in, orders come out."""
