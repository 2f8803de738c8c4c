"""The migration chain: it makes exactly tables.py, in any schema, however many start it at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg.conninfo import make_conninfo

from coordinator.errors import (
    ConfigError,
    DatabaseRefusedError,
    DatabaseUnreachableError,
    SchemaError,
)
from coordinator.store.driver.engine import engine
from coordinator.store.schema import migrate
from coordinator.store.schema.tables import metadata_for
from tests.conftest import Database
from tests.support.servers.postgres import Server

#: Things that alembic does not compare: order of columns, defaults, checks, storage, collations.
CATALOG = """
SELECT c.relname, 'column', a.attname, concat_ws(' ', a.attnum, a.atttypid::regtype, a.attnotnull,
    a.attidentity, pg_get_expr(d.adbin, d.adrelid), a.attcollation::regcollation)
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relkind = 'r' AND c.relnamespace = to_regnamespace(%(quoted)s)
UNION ALL
SELECT c.relname, 'constraint', k.conname, pg_get_constraintdef(k.oid)
FROM pg_class c JOIN pg_constraint k ON k.conrelid = c.oid
WHERE c.relnamespace = to_regnamespace(%(quoted)s)
UNION ALL
SELECT i.tablename, 'index', i.indexname, replace(i.indexdef, %(quoted)s || '.', '')
FROM pg_indexes i WHERE i.schemaname = %(schema)s
UNION ALL
SELECT c.relname, 'option', option, '' FROM pg_class c, unnest(c.reloptions) AS option
WHERE c.relkind = 'r' AND c.relnamespace = to_regnamespace(%(quoted)s)
ORDER BY 1, 2, 3
"""


def catalog(conninfo: str, schema: str) -> set[tuple[object, ...]]:
    with psycopg.connect(conninfo) as connection:
        names = {"schema": schema, "quoted": f'"{schema}"' if "-" in schema else schema}
        rows = connection.execute(CATALOG, names).fetchall()
    return {row for row in rows if row[0] != "coord_version"}


def differences(conninfo: str, schema: str) -> list[object]:
    # With pg_catalog as default schema, `public` is compared under its name like any other.
    other_default = make_conninfo(conninfo, options="-c search_path=pg_catalog")

    def ours(name: str | None, kind: str, _: object) -> bool:
        if kind == "schema":
            return name == schema
        return name != "coord_version"

    with engine(other_default).connect() as connection:
        options = {
            "include_schemas": True,
            "include_name": ours,
            "compare_type": True,
            "compare_server_default": True,
        }
        context = MigrationContext.configure(connection, opts=options)
        return list(compare_metadata(context, metadata_for(schema)))


@pytest.fixture(params=["public", "coord", "odd-Schema"])
def schema(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def empty(server: Server) -> str:
    """A database of the test's own, also where the other tests use a server elsewhere."""
    name = f"empty_{threading.get_native_id()}"
    server.query(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    server.query(f"CREATE DATABASE {name}")
    return server.conninfo(name)


def test_migrations_make_what_the_tables_say(empty: str, schema: str):
    """W8"""
    migrate.upgrade(empty, schema)

    assert differences(empty, schema) == []
    with engine(empty).begin() as connection:
        connection.execute(sa.schema.CreateSchema("mirror"))
        metadata_for("mirror").create_all(connection)
    assert catalog(empty, schema) == catalog(empty, "mirror")


def test_down_and_up_again_gives_the_same(empty: str, schema: str):
    migrate.upgrade(empty, schema)
    before = catalog(empty, schema)

    with engine(empty).begin() as connection:
        config = migrate._alembic(schema)
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    assert catalog(empty, schema) == set()
    migrate.upgrade(empty, schema)

    assert catalog(empty, schema) == before
    assert differences(empty, schema) == []


def test_a_stranger_with_the_migrations_lock_holds_up_no_upgrade(
    empty: str, schema: str, monkeypatch: pytest.MonkeyPatch
):
    """Any login may hold any advisory lock."""
    migrate.upgrade(empty, schema)
    with engine(empty).begin() as connection:
        config = migrate._alembic(schema)
        config.attributes["connection"] = connection
        command.downgrade(config, "-1")
    monkeypatch.setattr(migrate, "LOCK_WAIT", "1s")
    with psycopg.connect(empty, autocommit=True) as stranger:
        key = f"coord_migrate:{schema}"
        stranger.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (key,))

        migrate.upgrade(empty, schema)

    migrate.check(empty, schema)


def test_sql_for_administrators_makes_the_same(empty: str, schema: str):
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute(migrate.upgrade_sql(schema))

    migrate.check(empty, schema)
    assert differences(empty, schema) == []


def test_columns_of_the_origin_keep_their_names(database: Database):
    """W8"""
    holder = "SELECT group_id, task_id, term FROM token_holder"
    health = "SELECT task_id, group_id, last_heartbeat FROM health_check"

    assert database.query(holder) == database.query(health) == []


def test_a_beat_touches_no_index(database: Database):
    """A HOT update leaves nothing for vacuum but the row itself."""
    database.query("INSERT INTO health_check (group_id, task_id) VALUES ('orders', 'a')")
    with database.connect() as connection, connection.transaction():
        for _ in range(10):
            connection.execute(
                "UPDATE health_check SET beat = beat + 1, last_heartbeat = clock_timestamp()"
            )
        hot = "SELECT pg_stat_get_xact_tuples_hot_updated('health_check'::regclass)"

        assert connection.execute(hot).fetchone() == (10,)


@pytest.mark.parametrize("name", ["", "a b", "a'b", "ä", "a\nb", "x" * 257])
def test_a_malformed_name_is_refused_by_the_database(database: Database, name: str):
    with pytest.raises(psycopg.errors.CheckViolation):
        database.query("INSERT INTO group_record (group_id) VALUES (%s)", name)


@pytest.mark.parametrize("name", ["orders", "eu/orders:7@web-1.example_x", "x" * 256])
def test_a_well_formed_name_is_accepted(database: Database, name: str):
    database.query("INSERT INTO token_holder (group_id, task_id) VALUES (%s, %s)", name, name)


def test_the_known_revisions_are_alembics():
    scripts = ScriptDirectory.from_config(migrate._alembic("public"))

    chain = tuple(script.revision for script in reversed(list(scripts.walk_revisions())))

    assert chain == migrate.REVISIONS
    assert scripts.get_current_head() == migrate.SCHEMA_HEAD


def test_twenty_nodes_migrate_an_empty_database_at_once(empty: str):
    together = threading.Barrier(20)

    def start(_: int) -> None:
        together.wait(30)
        migrate.upgrade(empty, "app")

    with ThreadPoolExecutor(20) as nodes:
        list(nodes.map(start, range(20)))

    migrate.check(empty, "app")


def test_a_database_at_the_head_needs_no_right_to_change_it(server: Server, empty: str):
    migrate.upgrade(empty, "app")
    reader = stranger(server, empty, "GRANT USAGE ON SCHEMA app TO {0}")
    with psycopg.connect(empty) as connection:
        connection.execute("GRANT SELECT ON app.coord_version TO stranger")

    migrate.upgrade(reader, "app")


def test_a_missing_schema_says_what_to_run(empty: str):
    with pytest.raises(SchemaError, match=r"'app' is missing: run `coord db upgrade`"):
        migrate.check(empty, "app")

    assert migrate.current(empty, "app") is None


def test_a_newer_schema_is_neither_used_nor_touched(empty: str):
    migrate.upgrade(empty, "app")
    with psycopg.connect(empty) as connection:
        connection.execute("UPDATE app.coord_version SET version_num = '9999'")

    for ask in (migrate.check, migrate.upgrade):
        with pytest.raises(SchemaError, match="at 9999, newer than this version's"):
            ask(empty, "app")

    assert migrate.current(empty, "app") == "9999"


def test_a_schema_of_the_unreleased_chain_is_refused(empty: str):
    migrate.upgrade(empty, "app")
    with psycopg.connect(empty) as connection:
        connection.execute("UPDATE app.coord_version SET version_num = '0004'")

    for ask in (migrate.check, migrate.upgrade):
        with pytest.raises(SchemaError, match=r"unreleased build: .*another schema") as said:
            ask(empty, "app")
        assert said.value.exit_code == 78


def test_an_older_schema_says_what_to_run(empty: str, monkeypatch: pytest.MonkeyPatch):
    migrate.upgrade(empty, "app")
    monkeypatch.setattr(migrate, "REVISIONS", (*migrate.REVISIONS, "9998"))
    monkeypatch.setattr(migrate, "SCHEMA_HEAD", "9998")

    with pytest.raises(SchemaError, match="older than this version's 9998: run `coord db upgrade`"):
        migrate.check(empty, "app")


def stranger(server: Server, conninfo: str, *grants: str) -> str:
    """Return how a role without rights of its own connects."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        if not server.query("SELECT 1 FROM pg_roles WHERE rolname = 'stranger'"):
            connection.execute("CREATE ROLE stranger LOGIN")
        for grant in grants:
            connection.execute(grant.format("stranger"))
    return make_conninfo(conninfo, user="stranger")


def test_a_role_that_may_not_create_the_schema_is_told_the_grant(server: Server, empty: str):
    conninfo = stranger(server, empty)

    with pytest.raises(DatabaseRefusedError, match=r'GRANT CREATE ON DATABASE "empty_.*" TO'):
        migrate.upgrade(conninfo, "app")


def test_a_role_that_may_not_create_tables_is_told_the_grant(server: Server, empty: str):
    conninfo = stranger(server, empty, "CREATE SCHEMA app", "GRANT USAGE ON SCHEMA app TO {0}")

    with pytest.raises(DatabaseRefusedError, match='GRANT USAGE, CREATE ON SCHEMA "app" TO "stra'):
        migrate.upgrade(conninfo, "app")


def test_a_role_that_may_not_look_is_told_the_grant(server: Server, empty: str):
    migrate.upgrade(empty, "app")
    conninfo = stranger(server, empty)

    with pytest.raises(DatabaseRefusedError, match='GRANT USAGE ON SCHEMA app TO "stra') as caught:
        migrate.check(conninfo, "app")

    assert "\n" not in str(caught.value)


def test_an_unknown_role_is_refused(empty: str):
    with pytest.raises(DatabaseRefusedError, match='role "nobody_here" does not exist'):
        migrate.check(make_conninfo(empty, user="nobody_here"), "app")


def test_an_unknown_database_is_a_wrong_configuration(empty: str):
    with pytest.raises(ConfigError, match='database "nowhere" does not exist'):
        migrate.upgrade(make_conninfo(empty, dbname="nowhere"), "app")


def test_nobody_listening_is_unreachable():
    with pytest.raises(DatabaseUnreachableError, match=r"127\.0\.0\.1:1/x: .*refused") as caught:
        migrate.upgrade("postgresql://u:hush@127.0.0.1:1/x", "app")

    assert "hush" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("broken", ["postgresql://u:hu sh@h/x", "host=h hush", "u:hush"])
def test_a_broken_url_is_not_quoted(broken: str):
    with pytest.raises(ConfigError, match="cannot be parsed") as caught:
        migrate.check(broken, "app")

    assert "hu" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_wrong_password_is_refused_and_not_repeated():
    guarded = Server.create(tcp=True)
    try:
        guarded.query("CREATE ROLE guest LOGIN PASSWORD 'right'")
        hba = guarded.data / "pg_hba.conf"
        hba.write_text("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        guarded.restart()

        for password in ("wrong-hush", ""):
            conninfo = guarded.conninfo(tcp=True, user="guest", password=password)
            with pytest.raises(DatabaseRefusedError, match=r"password") as caught:
                migrate.check(conninfo, "app")
            assert "hush" not in str(caught.value)

        right = guarded.conninfo(tcp=True, user="guest", password="right")
        assert migrate.current(right, "app") is None
    finally:
        guarded.remove()


def test_a_standby_is_not_migrated(server: Server):
    standby = server.clone_standby("readonly")
    try:
        with pytest.raises(DatabaseUnreachableError, match="read-only"):
            migrate.upgrade(standby.conninfo(), "app")
    finally:
        standby.remove()
