"""Brings a database to this version's schema, and says what is wrong with one that is not.

`check` and `current` are one plain query: a node that starts does not load alembic.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
from psycopg import sql

from coordinator.errors import ConfigError, CoordError, DatabaseRefusedError, SchemaError
from coordinator.store.driver import connect as driver
from coordinator.store.driver.engine import engine
from coordinator.store.driver.errors import database_error, label, role_of
from coordinator.store.schema.aliases import make_aliases, missing_aliases, remarks
from coordinator.store.schema.facts import refuse_incomplete
from coordinator.store.sql.statement import named

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

#: The chain in migrations/, oldest first; a test holds it equal to alembic's own view.
REVISIONS = ("0001",)
SCHEMA_HEAD = REVISIONS[-1]

#: Another node's migration may take this long before we give up waiting for it.
LOCK_WAIT = "60s"

#: Errors of a migration that meets another's table, view, function or type of the same name.
TAKEN = (
    psycopg.errors.DuplicateTable,
    psycopg.errors.DuplicateObject,
    psycopg.errors.DuplicateFunction,
)

#: Alembic keeps the running migration in module globals, so one thread at a time. Taken after the
#: database's lock and never held while waiting for one.
_ALEMBIC = threading.Lock()


REVISION: LiteralString = "SELECT version_num FROM {schema}.coord_version"

#: Finds the reason why a schema has no revision. An earlier, unreleased revision kept it in
#: alembic's own table.
WHY_NONE: LiteralString = """
SELECT
    to_regnamespace(quote_ident({text})) IS NOT NULL,
    EXISTS (
        SELECT FROM pg_catalog.pg_class AS old
        JOIN pg_catalog.pg_class AS ours
            ON ours.relnamespace = old.relnamespace AND ours.relname = 'database_epoch'
        JOIN pg_catalog.pg_namespace AS home ON home.oid = old.relnamespace
        WHERE home.nspname = {text} AND old.relname = 'alembic_version'
    )
"""


def upgrade(conninfo: str, schema: str) -> None:
    """Bring `schema` to SCHEMA_HEAD in one transaction; does nothing when it is there already.

    Any number of nodes may call this at once, on an empty database too.
    Errors: DatabaseUnreachableError, DatabaseRefusedError (names the GRANT), SchemaError when the
    schema is newer than this version, or when another's tables have our names there.
    """
    found = current(conninfo, schema)
    if found == SCHEMA_HEAD:
        _refuse_incomplete(conninfo, schema)
        return
    _refuse_newer(found, schema, label(conninfo))
    import sqlalchemy.exc
    from alembic import command

    try:
        with engine(conninfo).begin() as connection:
            # A backstop: where a role's default is SERIALIZABLE, the snapshot would be older
            # than the lock, and the loser of the race would migrate again.
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE")
            connection.exec_driver_sql(driver.PREAMBLE_UNBOUNDED)
            _lock(connection, schema)
            _create_schema(connection, schema)
            config = _alembic(schema)
            config.attributes["connection"] = connection
            with _ALEMBIC:
                command.upgrade(config, "head")
            for statement in make_aliases(schema):
                connection.exec_driver_sql(statement)
    except (psycopg.Error, sqlalchemy.exc.DBAPIError) as error:
        raise _upgrade_error(error, schema, label(conninfo)) from error


def offer_aliases(conninfo: str, schema: str) -> list[str]:
    """Make the views outside our schema whose names are free by now.

    Returns a sentence for whatever an operator should know. `schema` is at SCHEMA_HEAD.
    """
    with _session(conninfo) as connection, driver.within(connection):
        if missing_aliases(connection, schema):
            for statement in make_aliases(schema):
                connection.execute(statement.encode())
        return remarks(connection, schema)


def remarks_on(conninfo: str, schema: str) -> list[str]:
    """Return a sentence for whatever an operator should know of a migrated schema."""
    with _session(conninfo) as connection, driver.within(connection):
        return remarks(connection, schema)


def current(conninfo: str, schema: str) -> str | None:
    """Return the revision of `schema`; None when it was never migrated.

    Errors: SchemaError when it holds the tables of an unreleased revision.
    """
    with _session(conninfo) as connection:
        rows: list[tuple[object, ...]] = []
        with suppress(psycopg.errors.UndefinedTable):
            rows = driver.asked(connection, driver.begin(connection, None), named(REVISION, schema))
        if not rows:
            why_none(connection, schema, label(conninfo))
    return str(rows[0][0]) if rows else None


def check(conninfo: str, schema: str) -> None:
    """Raise SchemaError when `schema` is missing, older, newer or not what this version needs."""
    where, found = label(conninfo), current(conninfo, schema)
    if found is None:
        with _session(conninfo) as connection:
            raise why_none(connection, schema, where)
    judge(found, schema, where)
    _refuse_incomplete(conninfo, schema)


def why_none(connection: psycopg.Connection[Any], schema: str, where: str) -> SchemaError:
    """Return the error of a schema that has no revision; psycopg's own when it cannot be asked.

    Errors: SchemaError when the schema holds the tables of an unreleased revision.
    """
    query = sql.SQL(WHY_NONE).format(text=sql.Literal(schema))
    ((exists, unreleased),) = driver.asked(
        connection, driver.begin(connection, None), query.as_bytes(None)
    )
    if unreleased:
        raise SchemaError(
            f"{where}: schema {schema!r} holds the tables of an unreleased revision of coord:"
            " dump what you need of them and drop them, or name another schema in"
            " databaseConfig.schema"
        )
    if not exists:
        return SchemaError(
            f"{where}: schema {schema!r} is missing: run `coord db upgrade`, or name another"
            " schema in databaseConfig.schema"
        )
    return SchemaError(
        f"{where}: schema {schema!r} has no tables of coord: run `coord db upgrade`, or name"
        " another schema in databaseConfig.schema"
    )


def judge(found: str, schema: str, where: str) -> None:
    """Raise SchemaError unless `found`, the revision in coord_version, is SCHEMA_HEAD."""
    _refuse_newer(found, schema, where)
    if found != SCHEMA_HEAD:
        raise SchemaError(
            f"{where}: schema {schema!r} is at {found}, older than this version's"
            f" {SCHEMA_HEAD}: run `coord db upgrade`"
        )


def upgrade_sql(schema: str) -> str:
    """Return the whole chain as SQL, for a DBA who applies DDL by hand."""
    from alembic import command

    script = io.StringIO()
    with _ALEMBIC:
        command.upgrade(_alembic(schema, script), "head", sql=True)
    quoted = sql.Identifier(schema).as_string(None)
    aliases = "".join(f"{statement.strip()};\n\n" for statement in make_aliases(schema))
    return f"CREATE SCHEMA IF NOT EXISTS {quoted};\n\n{script.getvalue()}\n{aliases}"


def _refuse_incomplete(conninfo: str, schema: str) -> None:
    with _session(conninfo) as connection:
        refuse_incomplete(connection, schema, label(conninfo))


def _upgrade_error(error: Exception, schema: str, where: str) -> CoordError:
    """Return our error for a migration that failed."""
    taken = isinstance(getattr(error, "orig", error), TAKEN)
    if not taken:
        return database_error(error, where)
    first = str(getattr(error, "orig", error)).partition("\n")[0]
    return SchemaError(
        f"{where}: schema {schema!r} holds something that is not coord's ({first}):"
        " name another schema in databaseConfig.schema"
    )


def _refuse_newer(found: str | None, schema: str, where: str) -> None:
    """Raise SchemaError for a revision that this version has never heard of."""
    if found is not None and found not in REVISIONS:
        raise SchemaError(
            f"{where}: schema {schema!r} is at {found}, newer than this version's {SCHEMA_HEAD}, or"
            " made by an unreleased build: upgrade coord on this node, or name another schema in"
            " databaseConfig.schema"
        )


def _lock(connection: Connection, schema: str) -> None:
    """Wait until no other node migrates `schema`; the end of the transaction lets the next in.

    Any login may hold an advisory lock, so that is for a schema which nobody has a right in yet.
    """
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_WAIT}'")
    connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
    version = f"{sql.Identifier(schema).as_string(None)}.coord_version"
    if connection.exec_driver_sql("SELECT to_regclass(%s)", (version,)).scalar_one() is not None:
        connection.exec_driver_sql(f"LOCK TABLE {version} IN SHARE ROW EXCLUSIVE MODE")
        return
    connection.exec_driver_sql(
        "SELECT pg_advisory_xact_lock(hashtextextended('coord_migrate:' || %s, 0))", (schema,)
    )


def _create_schema(connection: Connection, schema: str) -> None:
    """Create the schema where it is missing.

    Errors: DatabaseRefusedError when the role may not create it, or nothing in it.
    """
    from sqlalchemy.schema import CreateSchema

    role, database, exists, may_make, may_use = connection.exec_driver_sql(
        "SELECT current_user, current_database(), to_regnamespace(quote_ident(%s)) IS NOT NULL,"
        " has_database_privilege(current_database(), 'CREATE'),"
        " (SELECT has_schema_privilege(oid, 'CREATE') AND has_schema_privilege(oid, 'USAGE')"
        "  FROM pg_namespace WHERE nspname = %s)",
        (schema, schema),
    ).one()
    if exists and not may_use:
        raise DatabaseRefusedError(
            f"role {role!r} may not create tables in schema {schema!r} of database {database!r};"
            f' missing: GRANT USAGE, CREATE ON SCHEMA "{schema}" TO "{role}"'
        )
    if exists:
        return
    if not may_make:
        raise DatabaseRefusedError(
            f"role {role!r} may not create schema {schema!r} in database {database!r};"
            f' missing: GRANT CREATE ON DATABASE "{database}" TO "{role}"'
        )
    connection.execute(CreateSchema(schema, if_not_exists=True))


def _alembic(schema: str, output: io.StringIO | None = None) -> Config:
    """Return alembic's configuration: no ini file, the scripts that came with the package."""
    from alembic.config import Config

    # The package lies elsewhere in an editable installation, so its spec is asked, not a path.
    scripts = find_spec("coordinator.migrations")
    if scripts is None or scripts.origin is None:
        raise ConfigError("coord is not installed completely: coordinator.migrations is missing")
    config = Config(output_buffer=output) if output else Config()
    home = str(Path(scripts.origin).parent)
    config.set_main_option("script_location", home.replace("%", "%%"))
    config.attributes["schema"] = schema
    return config


@contextmanager
def _session(conninfo: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """Open a short connection whose errors are ours, except those that the caller catches."""
    where, role = label(conninfo), ""
    try:
        with closing(driver.open_session(conninfo)) as connection:
            role = role_of(connection)
            yield connection
    except psycopg.Error as error:
        raise database_error(error, where, role) from error
