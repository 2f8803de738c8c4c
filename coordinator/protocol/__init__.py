"""Decisions without clocks, threads, sockets or SQL: events in, commands out."""
