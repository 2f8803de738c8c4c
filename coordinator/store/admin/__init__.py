"""Questions and changes of people."""
