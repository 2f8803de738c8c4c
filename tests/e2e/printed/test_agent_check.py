"""A real HAProxy that asks the agent of each node, and nothing else, follows the active one."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.printed.test_haproxy_follows import free_port, nodes, program
from tests.support.nodes.processes import Bed, eventually

__all__ = ["nodes"]
NODES = {"node-1": "127.0.72.1", "node-2": "127.0.72.2"}
FRONT = "127.0.72.9"
#: Each server answers at all times: the agent alone decides. HAProxy believes in every server
#: until its agent was asked.
CONFIG = """
defaults
    mode tcp
    timeout connect 2s
    timeout client 5s
    timeout server 5s
listen front
    bind {front}:{port}
    default-server agent-inter 100ms on-marked-down shutdown-sessions
    {servers}
"""


@contextlib.contextmanager
def servers(port: int) -> Iterator[None]:
    """Answer each client at the address of a node with the node's name."""
    lines = {name: socket.create_server((host, port)) for name, host in NODES.items()}

    def serve(name: str) -> None:
        with contextlib.suppress(OSError):  # it is closed
            while True:
                client = lines[name].accept()[0]
                with client, contextlib.suppress(OSError):
                    client.sendall(name.encode())

    threads = [threading.Thread(target=serve, args=(name,)) for name in lines]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for line in lines.values():
            line.shutdown(socket.SHUT_RDWR)
            line.close()
        for thread in threads:
            thread.join(10)


@contextlib.contextmanager
def haproxy(tmp_path: Path, port: int, front: int, check: int) -> Iterator[Path]:
    """Run HAProxy; give its log."""
    made = "\n    ".join(
        f"server {name} {host}:{port} agent-check agent-port {check}"
        for name, host in NODES.items()
    )
    file, log = tmp_path / "haproxy.cfg", tmp_path / "haproxy.log"
    file.write_text(CONFIG.format(front=FRONT, port=front, servers=made))
    with log.open("ab") as out:
        process = subprocess.Popen([program(), "-db", "-f", str(file)], stdout=out, stderr=out)
    try:
        yield log
    finally:
        process.kill()
        process.wait()


def asked(front: int) -> str:
    """Return the name of whoever HAProxy leads to; empty: nobody."""
    with contextlib.suppress(OSError), socket.create_connection((FRONT, front), 2) as line:
        return line.recv(100).decode()
    return ""


@pytest.mark.real
def test_the_agents_lead_clients_to_the_active_node(nodes: Bed, tmp_path: Path) -> None:
    port, front, check = free_port(), free_port(), free_port()

    def start(name: str) -> None:
        nodes.start(name, "--agent-check", f"{NODES[name]}:{check}")

    def leads_to(name: str) -> None:
        """Wait until ten in a row reach this node: the choice between two would alternate."""
        eventually(
            lambda: {asked(front) for _ in range(10)} == {name},
            60,
            lambda: f"clients reach {name}{nodes.story()}{log.read_text()}",
        )

    for name in NODES:
        start(name)
    first = nodes.wait_for_run().node
    (other,) = NODES.keys() - {first}
    nodes.wait_for_standbys(1)
    with servers(port), haproxy(tmp_path, port, front, check) as log:
        leads_to(first)
        # It hands over and stays: a node that ends is silent, which HAProxy takes for no news.
        nodes.nodes[first].process.send_signal(signal.SIGUSR1)
        leads_to(other)
