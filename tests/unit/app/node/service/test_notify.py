"""Messages to a service manager arrive at both kinds of address, and hold nobody up."""

from __future__ import annotations

import socket

import pytest

from coordinator.app.node.service.notify import notify
from tests.support.nodes.progress import progress_socket


def test_an_abstract_address():
    with progress_socket() as (address, come):
        notify(address, "READY=1\nSTATUS=standby")

        assert come() == [b"READY=1\nSTATUS=standby"]


def test_a_path(tmp_path):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)

        notify(path, "WATCHDOG=1")

        assert manager.recv(100) == b"WATCHDOG=1"


@pytest.mark.parametrize("address", ["/nowhere/notify", "@coord-nobody-listens", "/" + "x" * 200])
def test_a_manager_that_is_gone_ends_no_node(address: str):
    notify(address, "READY=1")


def test_a_manager_that_does_not_read_makes_no_node_wait(tmp_path):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)

        for _ in range(5000):  # more than any queue of datagrams takes
            notify(path, "WATCHDOG=1")

        assert manager.recv(100) == b"WATCHDOG=1"
