"""Commands about single tokens."""
