"""Rights on the tables of checkpoints: a group's rows, its key and its content are its own."""

from __future__ import annotations

import pytest
from psycopg import errors

from coordinator.store.schema.segments.rights import NODE, SECRET
from tests.conformance.worlds import GROUP
from tests.support.servers.roles import Roles
from tests.support.servers.segment_rows import write_segment_rows

pytestmark = pytest.mark.real

OTHER = "billing"


@pytest.fixture
def written(roles: Roles) -> Roles:
    """Two groups, each with rows of its own login."""
    for group in (GROUP, OTHER):
        with roles.connect("node", group) as connection:
            write_segment_rows(connection, group)
    return roles


@pytest.mark.parametrize("table", NODE)
def test_a_group_sees_and_changes_its_own_rows_only(written: Roles, table: str):
    with written.connect("node", OTHER) as connection:
        seen = connection.execute(f"SELECT group_id FROM {table}").fetchall()

    assert seen == [(OTHER,)]


@pytest.mark.parametrize("table", SECRET)
@pytest.mark.parametrize("role", ["reader", "system_administrator"])
def test_people_read_no_key_and_no_content(written: Roles, role: str, table: str):
    with written.connect(role) as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute(f"SELECT * FROM {table}")


def test_a_node_forgets_what_has_expired_of_its_own_group_only(written: Roles):
    forget = "SELECT coord_forget_checkpoints(%s, array_agg(id), 0) FROM segment_group"
    with written.connect("node", OTHER) as connection:
        connection.execute("UPDATE segment_group SET state = 'EXPIRED'")
        with pytest.raises(errors.InsufficientPrivilege, match="not admitted"):
            connection.execute(forget, (GROUP,))
        forgotten = connection.execute(forget, (OTHER,)).fetchone()

    assert forgotten == (1,)
    assert written.database.query("SELECT group_id, state FROM segment_group") == [
        (GROUP, "COMMITTED")
    ]
    assert written.database.query("SELECT group_id FROM checkpoint_row") == [(GROUP,)]
    assert written.database.query("SELECT count(*) FROM segment_leaving") == [(2,)]


@pytest.mark.parametrize("table", NODE)
def test_a_node_deletes_no_row_and_locks_no_table(written: Roles, table: str):
    for deed in (f"DELETE FROM {table}", f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"):
        with (
            written.connect("node", GROUP) as connection,
            pytest.raises(errors.InsufficientPrivilege),
            connection.transaction(),
        ):
            connection.execute(deed)
