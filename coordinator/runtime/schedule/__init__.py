"""Schedules: programs that run at given moments."""
