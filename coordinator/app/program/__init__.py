"""The program's own process, where a schedule or a callable runs."""
