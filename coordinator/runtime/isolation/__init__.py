"""How surely a program and its descendants are caught and killed."""
