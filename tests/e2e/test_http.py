"""Real nodes over HTTP: checks, metrics and documents of a holder and of a standby."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.nodes.processes import RunningNode, bed, eventually

pytestmark = pytest.mark.real

TIMEOUT_S = 30
LISTENS = re.compile(r"HTTP on (\S+):(\d+)")


def address(node: RunningNode) -> tuple[str, int]:
    """Return where a node listens, as its log says."""
    found = eventually(lambda: LISTENS.search(node.said()), TIMEOUT_S, node.said)
    assert isinstance(found, re.Match)
    return found[1], int(found[2])


def get(node: RunningNode, path: str, **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(*address(node), timeout=TIMEOUT_S)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def metrics(node: RunningNode) -> dict[tuple[str, ...], float]:
    status, text = get(node, "/metrics")
    assert status == 200, text
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def connections(database) -> int:
    """Return how many connections the nodes have to their database."""
    statement = """
        SELECT count(*) FROM pg_stat_activity
        WHERE application_name = 'coord' AND datname = current_database()
    """
    return int(str(database.query(statement)[0][0]))


def coord(nodes, *words: str) -> dict[str, object]:
    _, environ = nodes.command_of("cli")
    command = [sys.executable, "-m", "coordinator.cli", *words, "-o", "json"]
    done = subprocess.run(
        command, env=environ, cwd=nodes.path, capture_output=True, check=True, timeout=60
    )
    return json.loads(done.stdout)


def takeovers(nodes) -> list[dict[str, object]]:
    """Return the terms of the group as the command line shows them, newest first."""
    found = coord(nodes, "history", "orders")["takeovers"]
    assert isinstance(found, list)
    return found


def test_a_takeover_is_seen_over_http_from_every_node(database, tmp_path):
    with bed(tmp_path, database.conninfo, database.schema) as nodes:
        nodes.liveness_s = 6.0
        first = nodes.start("node-1", "--listen", "127.0.0.1:0")
        nodes.wait_for_run()
        other = nodes.start("node-2", "--listen", "127.0.0.1:0")
        nodes.wait_for_standbys(1)

        # Checks need no SQL, and nobody has asked for more: a node has one connection.
        assert (get(first, "/active")[0], get(other, "/active")[0]) == (200, 503)
        assert (get(first, "/standby")[0], get(other, "/standby")[0]) == (503, 200)
        assert [get(other, path)[0] for path in ("/livez", "/readyz", "/healthz")] == [200] * 3
        assert connections(database) == 2

        before = metrics(other)
        assert before["coord_is_active", "orders", "node-2"] == 0
        assert before["coord_database_up", "orders", "node-2"] == 1
        assert before["coord_group_leaderless_seconds", "orders"] == 0
        assert before["coord_standbys", "orders"] == 1
        assert ("coord_heartbeat_age_seconds", "orders", "node-1") in before
        assert metrics(first)["coord_is_active", "orders", "node-1"] == 1

        shown = json.loads(get(other, "/status")[1])
        asked = coord(nodes, "status", "orders")
        assert set(shown) == set(asked)
        assert _lasting(shown) == _lasting(asked)
        status, text = get(other, "/api/v1/groups/others/history")
        assert (status, list(json.loads(text))) == (404, ["error"])

        first.send(signal.SIGKILL, "agent")
        nodes.wait_for_run(after=1)
        eventually(lambda: get(other, "/active")[0] == 200, TIMEOUT_S, other.said)
        gaps = ("coord_takeover_gap_seconds_count", "orders")
        after = eventually(
            lambda: (found := metrics(other)).get(gaps) == 1 and found, TIMEOUT_S, other.said
        )
        assert isinstance(after, dict)
        term = ("coord_term", "orders", "node-2")
        assert after["coord_is_active", "orders", "node-2"] == 1
        assert after[term] == before[term] + 1
        reasons = {key[2]: n for key, n in after.items() if key[0] == "coord_takeovers_total"}
        assert reasons == {takeovers(nodes)[0]["how"]: 1}
        history = json.loads(get(other, "/api/v1/groups/orders/history")[1])
        assert history["takeovers"] == takeovers(nodes)


def _lasting(document: dict[str, object]) -> list[tuple[object, ...]]:
    """Return what does not change from one moment to the next."""
    return [
        (group["groupId"], group["state"], group["holder"], group["term"], *sorted(group))
        for group in document["groups"]
    ]


def test_no_request_breaks_the_description_of_the_endpoints(database, tmp_path):
    """Schemathesis: what a node answers is what its own /openapi.json says, whatever is asked."""
    with bed(tmp_path, database.conninfo, database.schema) as nodes:
        node = nodes.start("node-1", "--listen", "127.0.0.1:0")
        nodes.wait_for_run()
        host, port = address(node)
        st = Path(sys.executable).with_name("st")
        # 503 says that a check is not so; a 500 is in no description, and is caught by that.
        options = ["--max-examples", "3", "--seed", "1", "--phases", "coverage,fuzzing"]
        options += ["--exclude-checks", "not_a_server_error", "--no-color"]
        done = subprocess.run(
            [st, "run", *options, f"http://{host}:{port}/openapi.json"],
            cwd=nodes.path,
            capture_output=True,
            text=True,
            timeout=150,
        )

    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
