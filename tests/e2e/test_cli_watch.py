"""`coord events`, `jobs`, `check` and `wait` on rows that SQL put there."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.conftest import Database
from tests.e2e.rows import EVENT, fill_told
from tests.e2e.test_cli_look import coord, filled
from tests.support.nodes.processes import eventually

pytestmark = pytest.mark.real

__all__ = ["filled"]


@pytest.fixture
def told(filled: Database) -> Database:
    """Events of two groups and of a task, and three schedules."""
    fill_told(filled)
    return filled


def test_events_of_a_group_are_those_of_its_tokens_oldest_first(told: Database) -> None:
    code, said, _ = coord(told, "events", "orders", "-o", "jsonl")
    found = [json.loads(line) for line in said.splitlines()]

    assert code == 0
    assert [(each["token"], each["event"], each["taskId"], each["term"]) for each in found] == [
        ("orders", "taken", "node-1", 7),
        ("orders", "released", "node-1", 7),
        ("orders/nightly", "taken", "node-2", 1),
    ]
    assert {each["kind"] for each in found} == {"Event"}


def test_events_of_the_last_time_only(told: Database) -> None:
    lines = coord(told, "events", "--since", "55s", "-o", "tsv")[1].splitlines()

    assert [line.split("\t")[2:4] for line in lines[1:]] == [
        ["orders/nightly", "taken"],
        ["ordersother", "joined"],
    ]
    assert "no events in this time" in coord(told, "events", "--since", "1ms")[1]


def test_a_person_reads_events_as_a_table(told: Database) -> None:
    said = coord(told, "events", "orders", "--time", "ago")[1].splitlines()

    assert said[0].split() == ["AT", "TOKEN", "EVENT", "NODE", "TERM", "REASON"]
    assert said[1].split() == ["2h", "ago", "orders", "taken", "node-1", "7", "no", "heartbeat"]


def test_a_follower_streams_what_is_committed_until_it_is_interrupted(told: Database) -> None:
    environment = os.environ | {
        "COORD_DATABASE_URL": told.conninfo,
        "COORD_DATABASE_SCHEMA": told.schema,
    }
    command = [sys.executable, "-m", "coordinator.cli", "events", "orders", "-f", "-o", "jsonl"]
    with subprocess.Popen(
        [*command, "--since", "55s"],
        env=environment,
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        with told.connect() as sql:
            sql.execute(EVENT, (0.0, "orders", "taken", "node-3", 9, "a\x1b[31m", "node-3"))
        second = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)

    assert (first["token"], second["term"]) == ("orders/nightly", 9)
    assert process.returncode == 130


@pytest.mark.parametrize("form", ["json", "tsv"])
def test_a_stream_has_no_whole_document(form: str, told: Database) -> None:
    assert coord(told, "events", "-f", "-o", form)[0] == 2


def test_schedules_are_shown_with_their_last_and_next_run(told: Database) -> None:
    table = coord(told, "jobs")[1].splitlines()
    found = {each["job"]: each for each in json.loads(coord(told, "jobs", "-o", "json")[1])["jobs"]}
    of_orders = json.loads(coord(told, "jobs", "orders", "-o", "json")[1])["jobs"]

    assert re.match(r"orders +node-2 +\d+\.\d s ago +ok +1\.5 s +in \d+\.\d s +7 +2$", table[1])
    assert re.search(r" failed +1\.5 s +when a node is active +7 +2$", table[2])
    assert re.search(r" ended +7 +2$", table[3])
    assert "orders/nightly: exit code 3" in table
    assert (found["orders"]["taskId"], found["orders"]["lastSeconds"]) == ("node-2", 1.5)
    assert 0 < found["orders"]["nextInSeconds"] <= 40
    assert (found["reports"]["ended"], found["reports"]["nextAt"]) == (True, None)
    assert found["reports"]["endReason"] == "maxCount is reached"
    assert [each["job"] for each in of_orders] == ["orders", "orders/nightly"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("check", "orders"), 0, "orders: node-2 is active, term 8; 2 standbys"),
        (("check",), 3, ""),
        (("check", "reports"), 3, ""),
        (("check", "nope"), 4, ""),
        (("check", "orders", "--nagios"), 0, "COORD OK - orders: node-2 is active, term 8;"),
        (("check", "--nagios"), 2, "COORD CRITICAL - reports: nobody is active (term 3) | "),
        (("check", "nope", "--nagios"), 3, "COORD UNKNOWN - there is no group 'nope'"),
        (("events", "nope"), 4, ""),
        (("jobs", "nope"), 4, ""),
        (("wait", "orders", "--for", "active"), 0, "orders: active, node-2, term 8"),
        (("wait", "orders", "--for", "term>7", "-o", "tsv"), 0, "groupId\tstate\tholder\tterm"),
        (("wait", "orders", "--for", "holder=node-1", "--timeout", "0.2"), 75, ""),
        (("wait", "nope", "--for", "active", "--timeout", "0.2"), 4, ""),
        (("wait", "orders", "--for", "nonsense"), 2, ""),
    ],
)
def test_the_exit_code_is_the_answer(
    arguments: tuple[str, ...], code: int, said: str, filled: Database
) -> None:
    answer = coord(filled, *arguments)

    assert (answer[0], answer[1].startswith(said)) == (code, True), answer


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("check",), 69),
        (("check", "--nagios"), 3),
        (("events",), 69),
        (("events", "-f"), 69),
        (("jobs",), 69),
        (("wait", "orders", "--for", "active", "--timeout", "0.3"), 69),
    ],
)
def test_a_database_that_is_away_is_told_in_one_line(
    arguments: tuple[str, ...], code: int, tmp_path: Path
) -> None:
    nowhere = Database(f"host={tmp_path} user=u dbname=d password=s3cret", "app")

    answer = coord(nowhere, *arguments)

    assert (answer[0], len((answer[1] + answer[2]).splitlines())) == (code, 1)
    assert "s3cret" not in answer[1] + answer[2]


def test_a_wait_ends_when_the_condition_becomes_true(filled: Database) -> None:
    environment = os.environ | {
        "COORD_DATABASE_URL": filled.conninfo,
        "COORD_DATABASE_SCHEMA": filled.schema,
    }
    command = [sys.executable, "-m", "coordinator.cli", "wait", "orders", "--for", "term>8"]
    with subprocess.Popen(
        command, env=environment, cwd="/", stdout=subprocess.PIPE, text=True
    ) as process:
        eventually(
            lambda: filled.query("SELECT 1 FROM pg_stat_activity WHERE query ~ 'coord_status'"),
            30,
            "the command has asked",
        )
        filled.query("UPDATE token_holder SET term = 9 WHERE group_id = 'orders'")
        said, _ = process.communicate(timeout=30)

    assert (process.returncode, said) == (0, "orders: active, node-2, term 9\n")


class Endpoint(BaseHTTPRequestHandler):
    """A node's endpoints: alive, and a standby."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/livez" else 503)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Write nothing."""


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Endpoint)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_local_check_asks_the_endpoint_and_no_database(
    endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = Database(f"host={tmp_path} user=u dbname=d", "app")
    assert coord(nowhere, "check", "--local")[0] == 2

    config = tmp_path / "Config.toml"
    config.write_text(f'[http]\nlisten = "{endpoint}"\n')
    local = ("check", "--local", "-c", str(config))

    assert coord(nowhere, *local)[:2] == (0, f"{endpoint}/livez answers 200\n")
    assert coord(nowhere, *local, "--path", "/active")[0] == 3
    assert coord(nowhere, *local, "--path", "/active", "--nagios")[0] == 2
    config.write_text('[http]\nlisten = "127.0.0.1:9"\n')
    assert coord(nowhere, *local)[0] == 3
