"""Calendar of a schedule: the moments at which it is due."""
