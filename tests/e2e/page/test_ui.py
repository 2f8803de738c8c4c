"""`coord ui` as a process: it shows what `coord status` shows, and refuses what it should."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Database
from tests.e2e.test_cli_look import coord, filled
from tests.support.bounds import within
from tests.support.servers.page import PageServer, served
from tests.support.servers.postgres import Server

pytestmark = pytest.mark.real

__all__ = ["filled"]

SECRET = "s3cret-of-the-admin"
JSON = {"content_type": "application/json"}
BEARER = JSON | {"authorization": f"Bearer {SECRET}"}
#: Fields that differ from one moment to the next.
MOVING = ("asOf", "Seconds", "server")


@pytest.fixture
def page(filled: Database, tmp_path: Path) -> Iterator[PageServer]:
    with served(filled.conninfo, filled.schema, tmp_path) as made:
        yield made


@pytest.fixture
def admin(filled: Database, tmp_path: Path) -> Iterator[PageServer]:
    secret = tmp_path / "token"
    secret.write_text(f"{SECRET}\n")
    secret.chmod(0o600)
    given = ("--admin-token-file", str(secret))
    with served(filled.conninfo, filled.schema, tmp_path, *given) as made:
        yield made


def still(document: object) -> object:
    """Return a document without what moves."""
    if isinstance(document, dict):
        return {key: still(value) for key, value in document.items() if not key.endswith(MOVING)}
    return [still(each) for each in document] if isinstance(document, list) else document


def document_of(database: Database, *arguments: str) -> Any:
    code, told, trouble = coord(database, *arguments, "-o", "json", "--timeout", "30")
    assert code == 0, trouble
    return json.loads(told)


def test_the_page_tells_what_the_commands_tell(page: PageServer, filled: Database) -> None:
    assert still(page.document("/api/v1/status")) == still(document_of(filled, "status"))
    status, headers, text = page.asked("GET", "/", accept="text/plain")
    assert (status, headers["content-type"]) == (200, "text/plain; charset=utf-8")
    words = [line.split() for line in text.splitlines()[:3]]
    assert words[0][:4] == ["GROUP", "STATE", "ACTIVE", "TERM"]
    assert words[1][:4] == ["orders", "active", "node-2", "8"]
    assert words[2][:3] == ["reports", "leaderless", "(node-1)"]

    group = page.document("/api/v1/groups/orders")
    terms = document_of(filled, "history", "orders", "--since", "24h")["takeovers"]
    sentences = document_of(filled, "explain", "orders")["sentences"]
    assert group["takeovers"] == terms
    assert len(group["explanation"]) == len(sentences)
    assert group["verdict"]["level"] == "ok"
    assert group["verdict"]["text"].startswith("node-2 is active, term 8, ")


@contextmanager
def streaming(page: PageServer, path: str) -> Iterator[Iterator[tuple[str, Any]]]:
    """Open a stream; yields its events as (name, document)."""
    connection = http.client.HTTPConnection(*page.address, timeout=60)
    connection.request("GET", path)
    answer = connection.getresponse()
    assert answer.headers["content-type"].startswith("text/event-stream")

    def events() -> Iterator[tuple[str, Any]]:
        name = ""
        for line in answer:
            key, _, text = line.decode().rstrip("\n").partition(": ")
            if key == "event":
                name = text
            elif key == "data":
                yield name, json.loads(text)

    try:
        yield events()
    finally:
        answer.close()
        connection.close()


def test_the_stream_has_all_groups_and_the_one_that_is_looked_at(page: PageServer) -> None:
    found: dict[str, Any] = {}
    with streaming(page, "/api/v1/events?group=reports") as events:
        while not {"overview", "group", "tick"} <= set(found):
            name, document = next(events)
            found[name] = document

    levels = {each["groupId"]: each["verdict"]["level"] for each in found["overview"]["groups"]}
    assert levels == {"orders": "ok", "reports": "critical"}
    assert found["group"]["groupId"] == "reports"
    assert found["group"]["verdict"]["text"].startswith("nobody has been active for ")
    assert found["tick"]["trouble"] is None


def test_every_answer_keeps_everything_else_out_and_refusals_are_json(page: PageServer) -> None:
    refused = ("/nowhere", "/api/v1/groups/none", "/static/none.js", "/static/..%2fserve.py")
    for path in ("/", "/static/main.js", "/api/v1/session", *refused):
        status, headers, text = page.asked("GET", path)
        assert headers["content-security-policy"].startswith("default-src 'none'; "), path
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers
        assert status == (404 if path in refused else 200), path
        if path in refused:
            assert json.loads(text)["error"]
    status, _, text = page.asked("GET", "/api/v1/status", host="evil.example")
    assert status == 421
    assert "--name" in json.loads(text)["error"]


def test_without_a_token_file_nothing_can_be_changed(page: PageServer, filled: Database) -> None:
    assert page.document("/api/v1/session")["verbs"] == []
    status, _, text = page.asked("POST", "/api/v1/groups/orders/pause-work", "{}", **BEARER)

    assert status == 403
    assert "--admin-token-file" in json.loads(text)["error"]
    assert filled.query("SELECT kind FROM planned_change") == []


def test_a_pause_is_asked_for_and_ended_as_the_commands_do(
    admin: PageServer, filled: Database
) -> None:
    body = json.dumps({"reason": "kernel update"})
    path = "/api/v1/groups/orders"

    status, _, text = admin.asked("POST", f"{path}/pause-takeovers", body, **BEARER)
    again, _, why = admin.asked("POST", f"{path}/pause-takeovers", body, **BEARER)

    assert (status, json.loads(text)["kind"]) == (200, "pause takeovers")
    assert again == 409, why
    (row,) = filled.query("SELECT kind, reason, outcome FROM planned_change")
    assert row == ("pause takeovers", "kernel update", None)
    assert "kernel update" in admin.document(path)["planned"][0]["sentence"]
    assert admin.asked("POST", f"{path}/resume", "{}", **BEARER)[0] == 200
    assert admin.asked("POST", f"{path}/resume", "{}", **BEARER)[0] == 409
    assert filled.query("SELECT outcome FROM planned_change") == [("done",)]


#: Requests of others, and the statuses with which they are refused.
FOREIGN = (
    (JSON, 401),
    (JSON | {"authorization": "Bearer wrong-wrong-wrong"}, 401),
    ({"authorization": f"Bearer {SECRET}"}, 403),
    (BEARER | {"origin": "http://evil.example"}, 403),
    (BEARER | {"sec_fetch_site": "cross-site"}, 403),
)


def test_a_change_needs_the_token_our_page_and_a_body_that_fits(
    admin: PageServer, filled: Database
) -> None:
    path = "/api/v1/groups/orders"
    for headers, status in FOREIGN:
        assert admin.asked("POST", f"{path}/pause-work", "{}", **headers)[0] == status, headers
    for body, status in (("x" * 20_000, 413), ("{}", 400), ('{"node": "nobody"}', 404)):
        assert admin.asked("POST", f"{path}/drain", body, **BEARER)[0] == status, body[:20]

    assert filled.query("SELECT kind FROM planned_change") == []


def test_it_ends_at_once_and_silently_with_streams_open(page: PageServer) -> None:
    with streaming(page, "/api/v1/events") as events:
        next(events)
        began = time.monotonic()
        code = page.stop()
        within(time.monotonic() - began, 0.5, "until the page has ended")

    assert code == 0
    assert [line for line in page.said if "Traceback" in line or "Error" in line] == []


def test_a_database_that_goes_away_is_told_with_the_age_of_what_was_read(
    page: PageServer, filled: Database, server: Server
) -> None:
    (name,) = filled.query("SELECT current_database()")[0]
    with streaming(page, "/api/v1/events") as events:
        first = next(document for kind, document in events if kind == "overview")
        server.query(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        server.query(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        )
        trouble = next(document for _, document in events if document.get("trouble"))

    assert first["groups"]
    assert trouble["ageSeconds"] > 0


def test_without_the_extra_the_command_says_how_to_install_it(tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['uvicorn'] = None;"
        "from coordinator.cli.main import main; main(['ui'])"
    )

    answer = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, timeout=60
    )

    assert answer.returncode == 78
    assert "pip install 'coord[web]'" in answer.stderr
