"""The recipe of an address that follows the active node: two machines and a client on one wire."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import urllib.request
from collections.abc import Callable, Iterator

import pytest

from tests.recipes.conftest import Recipe
from tests.support.networks import machines as networks
from tests.support.nodes.processes import eventually

pytestmark = pytest.mark.real
ADDRESS = "10.0.0.100"
_counter = itertools.count(1)


def ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=20, check=True)
    return done.stdout


@pytest.fixture
def wire() -> Iterator[Callable[[str], str]]:
    """Three network namespaces on one bridge; gives the name of each. The client has 10.0.0.1."""
    networks.require()
    stem = f"coord-recipe-{os.getpid()}-{next(_counter)}"
    names = {one: f"{stem}-{one}" for one in ("client", "node-1", "node-2")}
    made = []
    try:
        for name in names.values():
            ip("netns", "add", name)
            made.append(name)
            ip("-n", name, "link", "set", "lo", "up")
        client = names["client"]
        ip("-n", client, "link", "add", "wire", "type", "bridge", "forward_delay", "0")
        ip("-n", client, "address", "add", "10.0.0.1/24", "dev", "wire")
        for number, node in enumerate(("node-1", "node-2")):
            peer = ("peer", "name", "eth0", "netns", names[node])
            ip("-n", client, "link", "add", f"port{number}", "type", "veth", *peer)
            ip("-n", client, "link", "set", f"port{number}", "master", "wire", "up")
            ip("-n", names[node], "address", "add", f"10.0.0.{11 + number}/24", "dev", "eth0")
            ip("-n", names[node], "link", "set", "eth0", "up")
        ip("-n", client, "link", "set", "wire", "up")
        yield names.__getitem__
    finally:
        for name in made:
            ip("netns", "delete", name)


def has_address(machine: str) -> bool:
    return f" {ADDRESS}/24 " in ip("-n", machine, "-o", "address", "show", "dev", "eth0")


def answers(client: str) -> bool:
    """Say whether a client gets a page from the address, as curl would."""
    with networks.inside_namespace(client):
        try:
            with urllib.request.urlopen(f"http://{ADDRESS}:8080/", timeout=2) as page:
                return bool(page.status == 200)
        except OSError:
            return False


def test_the_address_follows_the_active_node(
    recipe: Callable[[str], Recipe], wire: Callable[[str], str]
) -> None:
    web = recipe("address")
    with networks.inside_namespace(wire("node-1")):
        first = web.start("node-1")
    eventually(lambda: answers(wire("client")), 30, lambda: f"node-1 serves{web.bed.story()}")
    with networks.inside_namespace(wire("node-2")):
        web.start("node-2")
    web.bed.wait_for_standbys(1)
    assert (has_address(wire("node-1")), has_address(wire("node-2"))) == (True, False)

    first.send(signal.SIGUSR1, "guardian")

    eventually(lambda: has_address(wire("node-2")), 20, lambda: f"moved{web.bed.story()}")
    assert not has_address(wire("node-1"))
    eventually(lambda: answers(wire("client")), 20, lambda: f"node-2 serves{web.bed.story()}")
    line = ip("-n", wire("client"), "neighbour", "show", ADDRESS)
    there = ip("-n", wire("node-2"), "-o", "link", "show", "dev", "eth0")
    assert line.split()[line.split().index("lladdr") + 1] in there
