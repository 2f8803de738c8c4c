"""Readings of a node for its HTTP endpoints: with its own login, and without a database."""

from __future__ import annotations

import http.client
import json
import logging
import socket
from types import SimpleNamespace

import pytest
from psycopg.conninfo import make_conninfo

from coordinator.app.config.settings import DatabaseSettings, NodeSettings
from coordinator.app.node.http.counting import Counted
from coordinator.app.node.http.endpoints import HttpEndpoints
from coordinator.app.node.http.source import GroupSource
from coordinator.errors import DatabaseRefusedError
from coordinator.runtime.linux.clock import BoottimeClock
from coordinator.web.node.routes import Read
from tests.conformance.worlds import GROUP
from tests.support.nodes.store_nodes import joined_nodes
from tests.unit.web.node.test_checks import HOLDER

pytestmark = pytest.mark.real


def settings_of(conninfo: str, schema: str, listen: str | None = None) -> NodeSettings:
    database = DatabaseSettings(conninfo=conninfo, schema=schema, named=True, label="db")
    return NodeSettings(task_id="a", group_id=GROUP, database=database, listen=listen)


def test_the_login_of_a_node_may_read_what_its_endpoints_tell(database, roles):
    counted = Counted(BoottimeClock().now)
    with joined_nodes(database, "a", "b") as (a, _):
        a.win()
        source = GroupSource(settings_of(roles.login("node", GROUP), database.schema), counted)
        try:
            figures = source.figures()
            documents = {
                read: source.document(read) for read in (Read.STATUS, Read.HISTORY, Read.NODES)
            }
            with pytest.raises(DatabaseRefusedError):
                source.document(Read.EVENTS)
        finally:
            source.close()

    assert set(figures.beat_ages_s) == {"a", "b"}
    assert figures.standbys == 1
    assert figures.leaderless_s == 0
    assert figures.takeovers == {"first": 1}
    assert documents[Read.STATUS]["groups"][0]["holder"] == "a"
    assert [each["to"] for each in documents[Read.HISTORY]["takeovers"]] == ["a"]
    assert {each["taskId"] for each in documents[Read.NODES]["nodes"]} == {"a", "b"}


def test_without_a_database_a_node_still_tells_of_itself():
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # it does not listen
        conninfo = make_conninfo(host="127.0.0.1", port=nobody.getsockname()[1], password="secret")
        agent = SimpleNamespace(node=HOLDER, onlookers=[])
        settings = settings_of(conninfo, "coord", listen="127.0.0.1:0")
        served = HttpEndpoints(agent, BoottimeClock(), settings, logging.getLogger("test"))
        try:
            found = {path: get(served, path) for path in ("/metrics", "/status", "/healthz")}
        finally:
            served.close()

    assert found["/metrics"][0] == 200
    assert 'coord_database_up{group="orders",task="a"} 0.0' in found["/metrics"][1]
    assert "coord_standbys" not in found["/metrics"][1]
    assert found["/status"][0] == 503
    assert "secret" not in found["/status"][1]
    assert list(json.loads(found["/status"][1])) == ["error"]
    assert found["/healthz"][0] == 200


def get(served: HttpEndpoints, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(*served._server.address, timeout=20)
    connection.request("GET", path)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text
