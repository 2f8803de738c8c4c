"""Readings for the page: what the commands (`coord status` and so on) show, at one moment."""
