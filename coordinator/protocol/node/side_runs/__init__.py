"""Decisions about the short runs beside the program, and from their ends."""
