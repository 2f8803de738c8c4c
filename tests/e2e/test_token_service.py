"""The token service of a real node, and the clients of examples/ in the languages that are here."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator import Coordinator, TokenHeldError
from tests.support.nodes.processes import Bed, RunningNode, bed, eventually

pytestmark = pytest.mark.real

CLIENTS = Path(__file__).resolve().parents[2] / "examples" / "clients"
#: Writes its term down, and rests.
REST = 'echo "$COORD_TERM" >ran.new; mv ran.new ran; while :; do sleep 0.05; done'


class Socket(http.client.HTTPConnection):
    """A connection to the unix socket of a service."""

    def __init__(self, path: str) -> None:
        super().__init__("coord")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self._path)


def asked(path: str, method: str, target: str) -> tuple[int, dict]:
    connection = Socket(path)
    connection.request(method, f"/v1/tokens/{target}")
    answer = connection.getresponse()
    found = answer.status, json.loads(answer.read())
    connection.close()
    return found


@pytest.fixture
def nodes(tmp_path, database) -> Iterator[Bed]:
    with bed(tmp_path, database.conninfo, database.schema) as made:
        yield made


@pytest.fixture
def served(nodes, tmp_path) -> tuple[RunningNode, str]:
    """Start a node with a service."""
    path = str(tmp_path / "s")
    node = nodes.start("n", "--tokens", f"unix:{path}")
    eventually(lambda: served_at(path), 60, nodes.story)
    return node, path


def served_at(path: str) -> bool:
    try:
        return asked(path, "GET", "x")[0] == 404
    except OSError:
        return False


@pytest.fixture
def other(database) -> Iterator[Coordinator]:
    """Give a coordinator of another process."""
    with Coordinator(
        group_id="orders",
        database_url=database.conninfo,
        schema=database.schema,
        heartbeat_frequency=0.3,
        liveness_check_interval=2.0,
    ) as made:
        yield made


def command_of(language: str, folder: Path) -> list[str]:
    """Return the command of a client; skip where its language is not here."""
    match language:
        case "sh":
            needs, command = "curl", [str(CLIENTS / "hold.sh")]
        case "node":
            needs, command = "node", ["node", str(CLIENTS / "hold.mjs")]
        case _:
            needs, command = "go", [str(folder / "hold")]
    if shutil.which(needs) is None:
        pytest.skip(f"{needs} is not installed")
    if language == "go":
        environ = os.environ | {"GOCACHE": str(folder / "cache"), "GO111MODULE": "off"}
        build = ["go", "build", "-o", command[0], str(CLIENTS / "hold.go")]
        subprocess.run(build, env=environ, check=True)
    return command


@pytest.mark.parametrize("language", ["sh", "node", "go"])
def test_a_client_holds_a_token_loses_it_and_ends_as_its_command_does(
    language, served, database, other, tmp_path
):
    command = [*command_of(language, tmp_path), served[1], "nightly"]

    def run(*words: str, **more: str) -> int:
        environ = os.environ | more
        return subprocess.run([*command, *words], cwd=tmp_path, env=environ, timeout=60).returncode

    assert run("sh", "-c", 'test "$COORD_TERM" = 1 && exit 7') == 7
    with other.token("nightly", timeout=60) as token:
        assert token.term == 2
        if language != "go":
            assert run("true", TIMEOUT="0") == 75
    client = subprocess.Popen([*command, "sh", "-c", REST], cwd=tmp_path, start_new_session=True)
    try:
        eventually((tmp_path / "ran").exists, 60, "the command runs")
        assert (tmp_path / "ran").read_text() == "3\n"
        with pytest.raises(TokenHeldError), other.token("nightly", wait=False):
            pass
        database.query(
            "UPDATE health_check SET ended_at = now(), end_reason = 'evicted' WHERE session ="
            " (SELECT session FROM token_holder WHERE group_id = 'orders/nightly')"
        )
        said = served[0].said
        eventually(lambda: "another process ended this session" in said(), 60, said)
        # In the form of the node's log, not as Python prints it where nothing is set up.
        assert not any(line.startswith("another process") for line in said().splitlines())
        assert client.wait(60) == 76
    finally:
        if client.poll() is None:
            client.kill()
            client.wait()


def test_the_service_comes_back_after_a_death_and_goes_with_its_node(served, other):
    node, path = served
    status, lease = asked(path, "POST", "x?ttl=600")
    assert (status, lease["term"]) == (201, 1)
    service = next(pid for pid in services(node) if Path(f"/proc/{pid}").exists())

    os.kill(service, signal.SIGKILL)

    eventually(lambda: services(node) not in ([], [service]), 60, node.said)
    status, lease = asked(path, "POST", "x?timeout=60&ttl=600")
    assert (status, lease["term"]) == (201, 2)
    node.process.terminate()
    node.process.wait(60)
    assert not Path(path).exists()
    with other.token("x", wait=False) as token:
        assert token.term == 3


def services(node: RunningNode) -> list[int]:
    from tests.support.nodes.processes import descendants

    found = []
    for pid in descendants(node.process.pid):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if b"coordinator.app.tokens.process" in command:
            found.append(pid)
    return found


def test_only_its_owner_may_use_the_socket_and_no_second_node_takes_it(served, nodes):
    path = served[1]
    assert Path(path).stat().st_mode & 0o777 == 0o600

    second = nodes.start("m", "--tokens", f"unix:{path}")

    eventually(lambda: second.process.poll() is not None, 60, second.said)
    assert second.process.returncode == 78
    assert "tokens.listen" in second.said()
    assert served_at(path)


def test_an_address_that_other_machines_reach_is_refused(nodes):
    node = nodes.start("n", "--tokens", "0.0.0.0:8009")

    eventually(lambda: node.process.poll() is not None, 60, node.said)
    assert node.process.returncode in (2, 78)
    assert "loopback" in node.said()
