"""A real HAProxy with the printed file follows the active node through takeovers."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.nodes.processes import Bed, bed, eventually

#: Answers each client with its node and its term, and with the end of the connection.
SERVER = """
import os, socket, sys
line = socket.create_server((sys.argv[1], int(sys.argv[2])), reuse_port=False)
told = f"{os.environ['COORD_NODE']} {os.environ['COORD_TERM']}".encode()
while True:
    client = line.accept()[0]
    try:
        client.sendall(told)
    except OSError:
        pass
    client.close()
"""
NODES = {"node-1": "127.0.71.1", "node-2": "127.0.71.2", "node-3": "127.0.71.3"}


@pytest.fixture
def nodes(tmp_path, database) -> Iterator[Bed]:
    with bed(tmp_path, database.conninfo, database.schema) as made:
        yield made


def free_port() -> int:
    with socket.socket() as line:
        line.bind(("127.0.71.1", 0))
        return int(line.getsockname()[1])


def program() -> str:
    """Return the path of HAProxy; without one the test is skipped."""
    found = shutil.which("haproxy", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("there is no haproxy: `make system-packages` installs it")
        pytest.skip("there is no haproxy here")
    return found


@contextlib.contextmanager
def haproxy(tmp_path: Path, port: int, front: int, check: int) -> Iterator[Path]:
    """Run HAProxy with the printed file; give its log."""
    config = tmp_path / "Config.toml"
    config.write_text(f'[http]\nlisten = "127.0.71.1:{check}"\n')
    servers = [f"--server={name}={host}:{port}" for name, host in NODES.items()]
    command = [*COORD, "print", "haproxy", *servers, "--bind", f"127.0.71.1:{front}"]
    printed = subprocess.run(
        [*command, "--config", str(config)], capture_output=True, text=True, check=True
    ).stdout
    file, log = tmp_path / "haproxy.cfg", tmp_path / "haproxy.log"
    file.write_text(printed)
    with log.open("ab") as out:
        process = subprocess.Popen([program(), "-db", "-f", str(file)], stdout=out, stderr=out)
    try:
        yield log
    finally:
        process.kill()
        process.wait()


COORD = [sys.executable, "-m", "coordinator.cli"]


def asked(front: int) -> tuple[str, int] | None:
    """Ask whoever HAProxy leads to for its node and term; None: to nobody."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.71.1", front), 2) as line:
        line.settimeout(2)
        told = line.recv(100).decode()
        if told:
            node, term = told.split()
            return node, int(term)
    return None


@pytest.mark.parametrize("takeovers", [2, pytest.param(10, marks=pytest.mark.long)])
def test_clients_reach_the_active_node_and_never_an_old_one(nodes, tmp_path, takeovers: int):
    port, front, check = free_port(), free_port(), free_port()

    def start(name: str) -> None:
        host = NODES[name]
        command = (sys.executable, "-S", "-c", SERVER, host, str(port))
        nodes.start(name, "--listen", f"{host}:{check}", command=command)

    answers: list[tuple[str, int]] = []

    def newest(above: int) -> bool:
        found = asked(front)
        if found is not None:
            answers.append(found)
        return found is not None and found[1] > above

    with haproxy(tmp_path, port, front, check) as log:
        for name in NODES:
            start(name)
        eventually(lambda: newest(0), 60, lambda: nodes.story() + log.read_text())
        for _ in range(takeovers):
            holder, term = answers[-1]
            nodes.nodes[holder].send(signal.SIGKILL, "all")
            nodes.nodes[holder].process.wait(10)
            eventually(partial(newest, term), 60, lambda: nodes.story() + log.read_text())
            start(holder)

    terms = [term for _, term in answers]
    assert terms == sorted(terms)
    assert len(set(terms)) >= takeovers + 1
