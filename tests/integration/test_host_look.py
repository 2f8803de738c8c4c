"""A look at an address that is not the server's own; a login that a pooler is refused (E4, O5)."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from psycopg.conninfo import make_conninfo

from coordinator.errors import DatabaseUnreachableError
from coordinator.runtime.agent.host_watch import HostWatch
from coordinator.runtime.linux.clock import BoottimeClock
from coordinator.store.connection import hosts
from tests.conftest import Database
from tests.support.networks.stalling_proxy import stalling_proxy
from tests.support.nodes.store_nodes import joined_nodes
from tests.support.servers.pgbouncer import Pooler, pooler
from tests.support.servers.postgres import Server, wait_until

pytestmark = pytest.mark.real

TIMEOUT_S = 10.0
WITHIN_S = 60.0
LOGIN = "coord_test_refused"


@pytest.fixture
def over_tcp() -> Iterator[Server]:
    primary = Server.create(tcp=True)
    try:
        yield primary
    finally:
        primary.remove()


def look_at(conninfo: str) -> hosts.HostLook:
    (look,) = hosts.looks(conninfo, TIMEOUT_S)
    assert look() is not None
    return look


def test_the_servers_own_address_is_looked_at_once(over_tcp: Server) -> None:
    assert look_at(over_tcp.conninfo()).over
    assert look_at(over_tcp.conninfo(tcp=True)).over


def test_a_single_address_that_is_not_the_servers_own_is_looked_at_on_and_on(
    over_tcp: Server,
) -> None:
    """E4: what stands between may lead new connections to another primary."""
    with stalling_proxy(over_tcp.conninfo(tcp=True)) as between:
        assert not look_at(between.conninfo).over
    with stalling_proxy(over_tcp.conninfo()) as between:
        assert not look_at(between.conninfo).over


def test_a_proxy_that_leads_new_connections_elsewhere_is_noticed(
    server: Server, over_tcp: Server
) -> None:
    """E4: the node's own connection stays where it was, and shows nothing of it."""
    seen: set[int] = set()
    both = threading.Event()

    def post(event: object) -> None:
        seen.add(event.identity.system_identifier)  # type: ignore[attr-defined]
        between.lead_to(over_tcp.conninfo())
        if len(seen) == 2:
            both.set()

    with stalling_proxy(server.conninfo()) as between:
        lookout = HostWatch(
            hosts.looks(between.conninfo, TIMEOUT_S), BoottimeClock(), post, every_s=0.05
        )
        try:
            assert both.wait(WITHIN_S)
        finally:
            lookout.stop()


@dataclass(frozen=True)
class Place:
    """A database as `joined_nodes` wants it."""

    conninfo: str
    schema: str


@pytest.fixture
def login(server: Server) -> Iterator[str]:
    server.query(f"CREATE ROLE {LOGIN} SUPERUSER LOGIN")
    yield LOGIN
    server.query(f"DROP ROLE {LOGIN}")


@pytest.fixture
def between(database: Database, login: str) -> Iterator[Pooler]:
    with pooler(make_conninfo(database.conninfo, user=login), wait_s=2) as made:
        yield made


def test_a_login_that_a_pooler_is_refused_is_no_lost_commit(
    server: Server, database: Database, between: Pooler
) -> None:
    """The pooler has no server any more to carry a statement out: nothing can have been written."""
    with joined_nodes(Place(between.conninfo, database.schema), "a", "b") as (first, second):
        server.query(f"ALTER ROLE {LOGIN} NOLOGIN")
        server.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", LOGIN
        )
        gone = "SELECT count(*) FROM pg_stat_activity WHERE usename = %s"
        wait_until(lambda: server.query(gone, LOGIN) == [(0,)])

        with pytest.raises(DatabaseUnreachableError) as waited:
            first.beat()
        with pytest.raises(DatabaseUnreachableError) as refused:
            second.beat()

    said = r"a pooler got no server to carry it out: (query_wait_timeout|server login has)"
    assert re.search(said, str(waited.value))
    assert re.search(said, str(refused.value))
