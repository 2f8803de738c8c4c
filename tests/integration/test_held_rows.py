"""Nobody outside a group's role holds up its joins, takes, settlements or fences.

A stranger is the login of another group: it leaves open whatever its transactions may hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
import pytest
from psycopg import errors, sql

from coordinator.protocol.messages.requests import Settle
from coordinator.store.connection.postgres import PostgresStore
from coordinator.store.node.epoch import ENSURE_EPOCH
from coordinator.store.schema.roles import TABLES
from coordinator.store.sql.fence import fence_sql
from coordinator.store.sql.statement import named
from tests.conformance.worlds import GROUP, TIMEOUT_S, Node, facts_of
from tests.support.servers.roles import Roles

pytestmark = pytest.mark.real

STRANGER = "billing"
LOCKS = ("UPDATE", "KEY SHARE")


class Stranger:
    """The login of another group, with as many open transactions as it likes."""

    def __init__(self, roles: Roles, stack: ExitStack) -> None:
        self.roles, self.stack = roles, stack

    def begin(self) -> psycopg.Connection[Any]:
        connection = self.stack.enter_context(self.roles.connect("node", STRANGER))
        connection.execute("BEGIN")
        return connection

    def sees_the_server_first(self) -> int:
        """Write down this run of the server, and do not commit; return how many rows."""
        connection = self.begin()
        row = connection.execute("SELECT system_identifier FROM pg_control_system()").fetchone()
        assert row is not None
        words = {"group": STRANGER, "system": row[0]}
        made = connection.execute(named(ENSURE_EPOCH, self.roles.database.schema), words)
        return made.rowcount

    def locks_what_it_may(self) -> int:
        """Lock all rows that it may lock, table by table; return how many."""
        locked = 0
        for table in TABLES:
            for strength in LOCKS:
                connection = self.begin()
                statement = sql.SQL("SELECT FROM {} FOR {} SKIP LOCKED").format(
                    sql.Identifier(table), sql.SQL(strength)
                )
                try:
                    locked += connection.execute(statement).rowcount
                except errors.InsufficientPrivilege:
                    connection.execute("ROLLBACK")
        return locked


@contextmanager
def node_of(roles: Roles, group: str, name: str) -> Iterator[Node]:
    known = facts_of(name, group=group)
    store = PostgresStore(roles.login("node", group), roles.database.schema, known)
    node = Node(known, store.connect(TIMEOUT_S))
    try:
        assert node.join().done
        yield node
    finally:
        node.connection.close()


def test_a_stranger_who_saw_the_server_first_holds_up_no_join_and_no_take(roles: Roles):
    """E1, E3: what a run of a server is called is written by each group for itself."""
    with ExitStack() as stack:
        assert Stranger(roles, stack).sees_the_server_first() == 1

        with node_of(roles, GROUP, "a") as node:
            assert node.win() == 1


def test_a_stranger_who_locks_all_it_may_holds_up_nothing(roles: Roles):
    with ExitStack() as stack, node_of(roles, GROUP, "a") as node:
        term = node.win()
        with node_of(roles, STRANGER, "s") as other:
            other.win()
        assert Stranger(roles, stack).locks_what_it_may() > 0
        roles.database.query(
            "UPDATE database_epoch SET first_seen_at = now() - interval '1 day'"
            " WHERE group_id = %s",
            GROUP,
        )

        with node_of(roles, GROUP, "b"), roles.connect("node", GROUP) as user:
            fence = {"group": GROUP, "term": term, "session": node.session}
            with user.transaction():
                user.execute(fence_sql(roles.database.schema), fence)
            identity = node.look().identity
            assert node.ask(Settle(identity=identity, waited_s=6.0)).done
            assert node.release(term).done
