"""A schema that has the revision and lacks parts of it is not taken for whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from coordinator.errors import SchemaError
from coordinator.store.admin.connection import AdminConnection
from coordinator.store.connection.postgres import PostgresStore
from coordinator.store.driver import connect as driver
from coordinator.store.schema import facts, migrate
from tests.conformance.worlds import TIMEOUT_S, facts_of

pytestmark = pytest.mark.real

#: Parts that half a restore lacks, or that another build made otherwise; the words for each.
DAMAGE = {
    "a primary key": (
        "ALTER TABLE token_holder DROP CONSTRAINT token_holder_pkey",
        "token_holder_pkey",
    ),
    "a smaller key": (
        "ALTER TABLE database_epoch DROP CONSTRAINT database_epoch_pkey,"
        " ADD CONSTRAINT database_epoch_pkey PRIMARY KEY (system_identifier, timeline)",
        r"database_epoch_pkey of database_epoch \(system_identifier, timeline, started_at,",
    ),
    "a trigger": ("DROP TRIGGER coord_restore_token ON token_holder", "coord_restore_token"),
    "a trigger that sleeps": (
        "ALTER TABLE task DISABLE TRIGGER task_clash_check",
        "task_clash_check",
    ),
    "a function": ("DROP FUNCTION coord_leave", "function coord_leave"),
    "another function of its name": (
        "CREATE OR REPLACE FUNCTION coord_fence("
        "p_group text, p_term bigint, p_session uuid DEFAULT NULL) RETURNS void"
        " LANGUAGE plpgsql AS 'BEGIN END'",
        "function coord_fence",
    ),
    "a column": (
        "ALTER TABLE health_check DROP COLUMN capacity CASCADE",
        r"column health_check\.capacity",
    ),
    "a column of another type": (
        "ALTER TABLE token_state ALTER COLUMN term TYPE text",
        r"column token_state\.term int8",
    ),
    "a column that nobody fills": (
        "ALTER TABLE event ADD COLUMN reason_code integer NOT NULL",
        "necessary columns of event",
    ),
    "a default": ("ALTER TABLE health_check ALTER beat DROP DEFAULT", r"column health_check\.beat"),
    "a constraint": ("ALTER TABLE task DROP CONSTRAINT task_values_check", "task_values_check"),
    "a policy": ("DROP POLICY coord_update ON health_check", "coord_update"),
    "a view": ("DROP VIEW sys_observer_decisions CASCADE", "sys_observer_decisions"),
    "an index": ("DROP INDEX token_holder_session_idx", "token_holder_session_idx"),
}


def test_the_facts_are_what_the_migrations_make(database):
    """COORD_UPDATE_GOLDEN=1 writes them anew."""
    with driver.open_session(database.conninfo) as connection:
        rows = connection.execute(facts.FACTS.encode(), {"schema": database.schema})
        found = sorted(
            fact for (fact,) in rows.fetchall() if "coord_version" not in fact.split("(")[0]
        )
    if os.environ.get("COORD_UPDATE_GOLDEN"):
        place = Path(facts.__file__).with_name("facts.txt")
        place.write_text("\n".join(found) + "\n")
        facts.expected.cache_clear()

    assert list(facts.expected()) == found


@pytest.mark.parametrize("schema", ["task", 'coord\'s "own"', "quote_ident"])
def test_a_schema_of_any_name_is_whole(unmigrated, schema: str):
    migrate.upgrade(unmigrated.conninfo, schema)

    migrate.check(unmigrated.conninfo, schema)


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_missing_is_told_with_what_to_do(database, damage: str):
    statement, named = DAMAGE[damage]
    database.query(statement)
    said = f"lacks parts of it .*{named}.* `coord db upgrade`"

    with pytest.raises(SchemaError, match=said) as refused:
        PostgresStore(database.conninfo, database.schema, facts_of("a")).connect(TIMEOUT_S)
    for look in (migrate.check, migrate.upgrade):
        with pytest.raises(SchemaError, match=said):
            look(database.conninfo, database.schema)
    eye = AdminConnection(database.conninfo, database.schema, "here", TIMEOUT_S)
    with pytest.raises(SchemaError, match=said):
        eye.revision()
    eye.close()

    assert refused.value.exit_code == 78
    assert "\n" not in str(refused.value)
    assert database.query("SELECT count(*) FROM group_record") == [(0,)]


def test_what_an_administrator_adds_is_no_matter(roles):
    """An index, a column with a default, a policy of the script."""
    database = roles.database
    database.query("CREATE INDEX mine ON event (at)")
    database.query("ALTER TABLE event ADD COLUMN mine integer NOT NULL DEFAULT 1")

    migrate.check(database.conninfo, database.schema)


def test_a_store_asks_once_for_each_server(database):
    store = PostgresStore(database.conninfo, database.schema, facts_of("a"))
    store.connect(TIMEOUT_S).close()
    database.query("DROP INDEX token_holder_session_idx")

    store.connect(TIMEOUT_S).close()
