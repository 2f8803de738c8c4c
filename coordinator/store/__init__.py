"""PostgreSQL, and only PostgreSQL."""
