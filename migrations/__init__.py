"""The Alembic migration chain, shipped inside the wheel."""
