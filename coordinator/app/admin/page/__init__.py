"""Readings for the page: what its other windows (`coord status` and so on) show, at one moment."""
