"""Log lines: their form, and how they are written without waiting."""
