"""Log lines: their form, and writing them without waiting."""
