"""Every line of a node has the form that was asked for, whichever of its processes says it."""

from __future__ import annotations

import json
import signal

import pytest

from coordinator.runtime.log.line_form import Voice
from tests.support.nodes.processes import bed, eventually
from tests.support.servers.postgres import free_port

ALWAYS = ("time", "level", "event", "message", "group", "node")


@pytest.fixture
def nodes(tmp_path, database):
    with bed(tmp_path, database.conninfo, database.schema) as made:
        yield made


def lines_of(node) -> list[dict[str, object]]:
    return [json.loads(line) for line in node.said().splitlines()]


def test_every_line_is_json_with_the_same_keys(nodes, tmp_path):
    config = "heartbeatFrequency = 0.3\nlivenessCheckInterval = 3\n[program]\n"
    node = nodes.start(
        "node-1",
        *("--log-format", "json", "--listen", f"127.0.0.1:{free_port()}"),
        config=f'{config}command = ["sleep", "60"]\n',
        env={
            "COORD_LOG_FORMAT": "",
            "COORD_HEARTBEAT_FREQUENCY": "",
            "COORD_LIVENESS_CHECK_INTERVAL": "",
            "COORD_GROPU_ID": "x",
        },
    )

    def said(event: str) -> bool:
        return f'"event": "{event}"' in node.said()

    def wait_for(event: str) -> None:
        eventually(lambda: said(event), 30, lambda: f"the event {event}{nodes.story()}")

    wait_for("program-started")
    node.process.send_signal(signal.SIGHUP)
    wait_for("reload")
    (tmp_path / "node-1.toml").write_text("nonsense = 1\n")
    node.process.send_signal(signal.SIGHUP)
    eventually(lambda: "nothing changed" in node.said(), 30, lambda: f"refused{nodes.story()}")
    node.send(signal.SIGKILL, "agent")
    wait_for("guardian")
    eventually(lambda: node.said().count("program-started") > 1, 30, lambda: nodes.story())
    node.process.terminate()
    assert node.process.wait(20) == 0

    lines = lines_of(node)
    assert [tuple(line)[:6] for line in lines] == [ALWAYS] * len(lines)
    assert {(line["group"], line["node"]) for line in lines} == {("orders", "node-1")}
    assert {"warning", "http-on", "active", "program-started", "reload", "guardian", "left"} <= {
        line["event"] for line in lines
    }
    assert {line["level"] for line in lines if line["event"] == "left"} == {"INFO"}


def test_a_refused_node_says_why_in_the_same_form(nodes):
    nodes.start("node-1", command=("sleep", "60"))
    eventually(lambda: "ACTIVE" in nodes.nodes["node-1"].said(), 30, lambda: nodes.story())
    other = nodes.start("node-2", "-n", "--log-format", "json")

    assert other.process.wait(30) == 75
    (last,) = [line for line in lines_of(other) if line["event"] == "ended"]
    assert (last["level"], last["node"]) == ("ERROR", "node-2")
    assert "is held by node-1" in str(last["message"])


def test_text_has_the_time_where_no_terminal_shows_it_as_it_comes():
    said = Voice("text", timed=True).line("g: one\ntwo", at_s=1_800_000_000.1234)

    assert said == ("2027-01-15T08:00:00.123Z coord: g: one\n2027-01-15T08:00:00.123Z coord: two\n")
    assert Voice("text").line("g: one") == "coord: g: one\n"
