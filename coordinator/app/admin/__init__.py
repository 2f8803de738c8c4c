"""Answers and changes for people, as plain values."""
