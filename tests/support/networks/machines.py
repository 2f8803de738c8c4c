"""A network of its own for a test: machines behind one router, whose cables a test may cut.

Every machine is a network namespace with one cable to a router, which is a namespace too. Whatever
is cut is dropped silently in the router, as in a real network: no FIN, no RST, no ICMP. Processes
enter a machine by being started inside it; they share everything else with the test, so their
clock is the test's clock. Needs root and iproute2, nothing else.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from tests.support.servers.postgres import Server

PREFIX = "coord-net"
NAMED = Path("/run/netns")  #: the folder in which iproute2 keeps namespaces by name
#: Exists only between the namespaces; nothing routes it anywhere else.
RANGE = "10.213.0.0/16"
MACHINES_MAX = 250
#: One call of `ip` takes some ms; a machine that needs longer is in trouble.
COMMAND_TIMEOUT_S = 20.0
CLONE_NEWNET = 0x40000000

_counter = itertools.count(1)
_libc = ctypes.CDLL(None, use_errno=True)


def available() -> str:
    """Return why there can be no networks here; empty when there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "there is no `ip`: install iproute2"
    probe = f"{PREFIX}-{os.getpid()}-{next(_counter)}-probe"
    tried = _try("netns", "add", probe)
    _try("netns", "del", probe)
    return tried and f"no network namespace can be made: {tried}"


def require() -> None:
    """Skip the test where there can be no networks; fail it in CI, which must not hide that."""
    reason = available()
    if reason and os.environ.get("CI") == "true":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


class Network:
    """Machines that reach each other through one router."""

    def __init__(self) -> None:
        self._name = f"{PREFIX}-{os.getpid()}-{next(_counter)}"
        self._addresses: dict[str, str] = {}
        self._router = f"{self._name}-router"
        _ip("netns", "add", self._router)
        with inside_namespace(self._router):
            # A filter of return paths would turn a one-way cut into one of both ways.
            for setting, value in (("conf/all/rp_filter", "0"), ("conf/default/rp_filter", "0")):
                Path("/proc/sys/net/ipv4", setting).write_text(value)
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")

    def add(self, machine: str) -> str:
        """Add a machine and return its address."""
        number = len(self._addresses) + 1
        assert number <= MACHINES_MAX
        namespace, cable = self._namespace(machine), self._cable(number)
        address, gateway = f"10.213.{number}.2", f"10.213.{number}.1"
        _ip("netns", "add", namespace)
        self._addresses[machine] = address
        pair = ("type", "veth", "peer", "name", "uplink", "netns", namespace)
        _ip("-n", self._router, "link", "add", cable, *pair)
        for where, device, own in (
            (self._router, cable, gateway),
            (namespace, "uplink", address),
        ):
            _ip("-n", where, "address", "add", f"{own}/24", "dev", device)
            _ip("-n", where, "link", "set", device, "up")
        _ip("-n", namespace, "link", "set", "lo", "up")
        _ip("-n", namespace, "route", "add", "default", "via", gateway)
        return address

    def address(self, machine: str) -> str:
        """Return the address of a machine."""
        return self._addresses[machine]

    @contextmanager
    def inside(self, machine: str) -> Iterator[None]:
        """Let this thread work inside a machine: its sockets and its children belong there."""
        with inside_namespace(self._namespace(machine)):
            yield

    # --- faults -------------------------------------------------------------------------------

    def cut(self, machine: str) -> None:
        """Drop everything from and to a machine; both ends believe their connections live."""
        self._drop("from", machine)
        self._drop("to", machine)

    def cut_answers(self, machine: str) -> None:
        """Drop everything to a machine: what it asks is done, and it never hears of it."""
        self._drop("to", machine)

    def cut_questions(self, machine: str) -> None:
        """Drop everything from a machine: it hears, and nobody hears it."""
        self._drop("from", machine)

    def unplug(self, machine: str) -> None:
        """Pull the machine's cable: it sees that the carrier is gone."""
        _ip("-n", self._router, "link", "set", self._cable(self._number(machine)), "down")

    def heal(self, machine: str) -> None:
        """Undo every cut of a machine, and plug it in."""
        for direction in ("from", "to"):
            # Each `del` removes one rule, and a cut may have been made twice.
            while not _try("-n", self._router, "rule", "del", *self._rule(direction, machine)):
                pass
        _ip("-n", self._router, "link", "set", self._cable(self._number(machine)), "up")

    def flap(self, machine: str, times: int, down_s: float, up_s: float) -> None:
        """Cut and heal a machine again and again; it is whole at the end."""
        pause = threading.Event()
        for _ in range(times):
            self.cut(machine)
            pause.wait(down_s)
            self.heal(machine)
            pause.wait(up_s)

    # --- end ----------------------------------------------------------------------------------

    def kill_all(self, machine: str) -> None:
        """Kill every process of a machine; again, until none is left that was forked meanwhile."""
        for pids in iter(lambda: _pids_in(self._namespace(machine)), []):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def end(self) -> None:
        """Remove everything, whatever is left of it."""
        for machine in self._addresses:
            _try("netns", "del", self._namespace(machine))
        _try("netns", "del", self._router)

    # --- inside -------------------------------------------------------------------------------

    def _namespace(self, machine: str) -> str:
        return f"{self._name}-{machine}"

    def _number(self, machine: str) -> int:
        return list(self._addresses).index(machine) + 1

    def _cable(self, number: int) -> str:
        return f"cable-{number}"

    def _rule(self, direction: str, machine: str) -> tuple[str, ...]:
        return (direction, self._addresses[machine], "blackhole")

    def _drop(self, direction: str, machine: str) -> None:
        _ip("-n", self._router, "rule", "add", *self._rule(direction, machine))


@contextmanager
def network() -> Iterator[Network]:
    """Give a network and leave nothing of it behind; skips the test where there can be none."""
    require()
    _clean_up_after_the_killed()
    made = Network()
    try:
        yield made
    finally:
        made.end()


@contextmanager
def database_machine(net: Network, machine: str = "database") -> Iterator[Server]:
    """Run a PostgreSQL on a machine of its own; from elsewhere it asks for passwords.

    The test itself reaches it through its Unix socket, whatever is cut.
    """
    address = net.add(machine)
    with net.inside(machine):
        server = Server.create(listen_addresses=address)
    try:
        with (server.data / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {RANGE} scram-sha-256\n")
        # The rules are read right after the settings; of those one can see that they were.
        server.reload(log_disconnections="on")
        yield server
    finally:
        server.remove()


def new_database(server: Server, name: str, user: str, password: str) -> None:
    """Create a role that may log in and an empty database that it owns."""
    known = server.query("SELECT 1 FROM pg_roles WHERE rolname = %s", user)
    if not known:
        server.query(f"CREATE ROLE {user} LOGIN PASSWORD '{password}'")
    server.query(f"CREATE DATABASE {name} OWNER {user}")


def conninfo(net: Network, dbname: str, user: str, password: str) -> str:
    """Return how a node reaches the machine "database"."""
    host = net.address("database")
    return make_conninfo("", host=host, port="5432", dbname=dbname, user=user, password=password)


@contextmanager
def inside_namespace(namespace: str) -> Iterator[None]:
    """Put this thread, and what it starts, into a network namespace; other threads stay.

    Not by `ip netns exec`: that mounts another /sys, and the cgroups would be gone.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(NAMED / namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _set_network(there)
            try:
                yield
            finally:
                _set_network(home)
        finally:
            os.close(there)
    finally:
        os.close(home)


def _set_network(descriptor: int) -> None:
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _ip(*arguments: str) -> None:
    failed = _try(*arguments)
    assert not failed, f"ip {' '.join(arguments)}: {failed}"


def _try(*arguments: str) -> str:
    """Run `ip`; return what went wrong, empty when nothing did."""
    done = subprocess.run(
        ["ip", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
    )
    if done.returncode == 0:
        return ""
    return done.stderr.strip() or f"exit code {done.returncode}"


def _clean_up_after_the_killed() -> None:
    """Remove the namespaces of test runs that no longer exist, and what still runs in them."""
    for left in NAMED.glob(f"{PREFIX}-*") if NAMED.is_dir() else ():
        maker = left.name.removeprefix(f"{PREFIX}-").split("-")[0]
        if Path("/proc", maker).exists():
            continue
        for pid in _pids_in(left.name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _try("netns", "del", left.name)


def _pids_in(namespace: str) -> list[int]:
    listed = subprocess.run(
        ["ip", "netns", "pids", namespace],
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
    )
    return [int(word) for word in listed.stdout.split()]
