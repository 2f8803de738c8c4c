"""Only the one who starts a server can say that it was restarted in place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from coordinator.store.embedded import server as embedded
from coordinator.store.schema import migrate
from tests.conftest import Database
from tests.support.nodes.store_nodes import joined_nodes
from tests.support.servers.postgres import Server
from tests.support.servers.roles import made_roles

pytestmark = pytest.mark.real


@dataclass(frozen=True)
class Home:
    """The address to which nodes connect."""

    conninfo: str
    schema: str = "coord"


@pytest.fixture
def alone() -> Iterator[Server]:
    server = Server.create()
    try:
        migrate.upgrade(server.conninfo(), "coord")
        yield server
    finally:
        server.remove()


def is_settled(server: Server, node_name: str, **options: str) -> bool:
    """Join, and say whether that found the run of the server settled."""
    with joined_nodes(Home(server.conninfo(**options)), node_name) as (node,):
        return node.look().settled


def test_only_who_starts_a_server_says_that_it_goes_on_in_place(alone: Server):
    """E3: a copy of old files is started by somebody else, with the same settings inside."""
    assert is_settled(alone, "a"), "the first run of a new database"
    alone.query(f"ALTER DATABASE {embedded.NAME} SET coord.in_place = 'on'")
    alone.query(f"ALTER ROLE {embedded.NAME} SET coord.in_place = 'on'")
    _, said = embedded.IN_PLACE
    name, _, value = said.partition("=")
    alone.query(f"ALTER SYSTEM SET {name} = '{value}'")

    alone.restart()

    assert alone.query(f"SHOW {name}") == [(value,)]
    assert not is_settled(alone, "b", options="-c coord.in_place=on")

    alone.settings[name] = value
    alone.restart()

    assert is_settled(alone, "c")


def test_a_login_of_a_group_joins_on_a_server_that_was_restarted_in_place(alone: Server):
    """E3: what the server's starter says, the policies of `coord db roles` believe, too."""
    _, said = embedded.IN_PLACE
    name, _, value = said.partition("=")
    with made_roles(Database(alone.conninfo(), "coord")) as roles:
        home = Home(roles.login("node", "orders"))
        with joined_nodes(home, "a") as (node,):
            assert node.win() == 1

        alone.settings[name] = value
        alone.restart()

        with joined_nodes(home, "b") as (node,):
            assert node.look().settled
