"""The machine of the guardian: when to stop and kill a program, and what to report."""
