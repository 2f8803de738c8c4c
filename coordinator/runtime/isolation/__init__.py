"""Isolation levels: finding and killing a program with all its descendants."""
