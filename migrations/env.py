"""Alembic's entry: runs the chain on the connection, and in the schema, that migrate.py hands in.

Attributes of the config: "schema" (always) and "connection" (online; it is in a transaction).
"""

from __future__ import annotations

from alembic import context

from coordinator.store.schema.tables import metadata_for


def run() -> None:
    schema: str = context.config.attributes["schema"]
    context.configure(
        connection=None if context.is_offline_mode() else context.config.attributes["connection"],
        dialect_name="postgresql" if context.is_offline_mode() else None,
        target_metadata=metadata_for(schema),
        version_table="coord_version",
        version_table_schema=schema,
        include_schemas=True,
    )
    with context.begin_transaction():
        context.run_migrations()


run()
