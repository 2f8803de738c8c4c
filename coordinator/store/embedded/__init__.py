"""A PostgreSQL server of our own, for trying out."""
