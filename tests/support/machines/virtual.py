"""A virtual machine on a test's network, that can be put to sleep, and stopped by its host.

It takes the place of one machine of a network: the same cable, the same address, and a kernel with
clocks of its own. QEMU emulates it, so that it needs no help of the processor; a program in it runs
about ten times slower than outside.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.machines import image as machine_image
from tests.support.machines import init as machine_init
from tests.support.networks.machines import Network

MEMORY_MIB = 1536
START_MAX_S, ANSWER_MAX_S, END_S = 90.0, 20.0, 5.0
#: An answer that came so fast tells the moment well enough.
PINGS = 7
#: Not even a test that is killed leaves it behind.
LEASH = ("setpriv", "--pdeathsig", "KILL")
#: The point where the machine's card and its cable meet.
BRIDGE, TAP = "bridge", "card"


@dataclass(frozen=True)
class Offset:
    """Seconds by which the machine's CLOCK_BOOTTIME is ahead of ours, and the error of that."""

    ahead_s: float
    error_s: float


class Lines:
    """Lines of JSON through a socket."""

    def __init__(self, opened: socket.socket) -> None:
        self._socket, self._rest = opened, b""
        self._waiting: list[dict[str, Any]] = []

    def send(self, said: dict[str, object]) -> None:
        """Say one line."""
        self._socket.sendall(json.dumps(said).encode() + b"\n")

    def hear(self, within_s: float) -> dict[str, Any]:
        """Return the next line; errors: TimeoutError."""
        give_up_at = time.monotonic() + within_s
        while not self._waiting:
            left = give_up_at - time.monotonic()
            if left <= 0 or not select.select([self._socket], [], [], left)[0]:
                raise TimeoutError(f"no answer within {within_s:g} s")
            more = self._socket.recv(65536)
            if not more:
                raise ConnectionError("closed")
            *whole, self._rest = (self._rest + more).split(b"\n")
            self._waiting += [json.loads(line) for line in whole]
        return self._waiting.pop(0)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class Machine:
    """One virtual machine that runs."""

    def __init__(self, process: subprocess.Popen[bytes], monitor: Lines, inside: Lines) -> None:
        self._process, self._monitor, self._inside = process, monitor, inside

    # --- what runs in it ----------------------------------------------------------------------

    def ask(self, do: str, **what: object) -> Any:
        """Have its first process do something (init.py), and return the answer."""
        self._inside.send({"do": do, **what})
        answer = self._inside.hear(ANSWER_MAX_S)
        if "failed" in answer:
            raise AssertionError(f"{do}: {answer['failed']}")
        return answer["done"]

    def start(self, command: list[str], environ: dict[str, str], cwd: Path, log: Path) -> int:
        """Start a program and return its process number in there."""
        asked = {"argv": command, "env": environ, "cwd": str(cwd), "log": str(log)}
        return int(self.ask("start", **asked))

    def offset(self) -> Offset:
        """Compare the clocks: the fastest of a few answers is the most exact."""
        seen = []
        for _ in range(PINGS):
            asked_at = boottime()
            moment = self.ask("clocks")["boottime"]
            took_s = boottime() - asked_at
            seen.append(Offset(moment - asked_at - took_s / 2, took_s / 2))
        return min(seen, key=lambda offset: offset.error_s)

    # --- what is done to it -------------------------------------------------------------------

    def suspend(self) -> float:
        """Have its kernel suspend it to memory; return the moment at which its processor was off.

        Moments are ours, of CLOCK_BOOTTIME.
        """
        self.ask("to_memory")
        return self._event("SUSPEND")

    def wake(self) -> None:
        """Press its button; it is awake as soon as it answers."""
        self._order("system_wakeup")

    def pause(self) -> float:
        """Stop it from outside, its clocks too, and nobody tells it later; return when it was."""
        self._monitor.send({"execute": "stop"})
        return self._event("STOP")

    def go_on(self) -> None:
        """Let it go on after a pause."""
        self._order("cont")

    def end(self) -> None:
        """Switch it off."""
        self._inside.close()
        self._monitor.close()
        self._process.kill()
        self._process.wait(END_S)

    def _order(self, what: str) -> None:
        self._monitor.send({"execute": what})
        while "return" not in (said := self._monitor.hear(ANSWER_MAX_S)):
            assert "error" not in said, said

    def _event(self, name: str) -> float:
        """Wait until the monitor tells of an event; return the moment that it names."""
        while (said := self._monitor.hear(ANSWER_MAX_S)).get("event") != name:
            assert "error" not in said, said
        at = said["timestamp"]
        ago_s = time.time() - at["seconds"] - at["microseconds"] / 1e6
        return boottime() - ago_s


def boottime() -> float:
    """Return the moment by this machine's clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@contextmanager
def machine(net: Network, name: str, disk: Path, folder: Path) -> Iterator[Machine]:
    """Put a virtual machine in the place of a network's machine, and leave nothing of it behind.

    It is asked from beside it, so that it answers while its cable is cut.
    """
    gateway = _plug(net, name)
    monitor = folder / "monitor"
    command = [*LEASH, machine_image.SYSTEM, "-accel", "tcg", "-cpu", "max", "-smp", "1"]
    command += ["-m", str(MEMORY_MIB), "-nodefaults", "-display", "none", "-no-reboot"]
    command += ["-serial", f"file:{folder / 'console'}"]
    command += ["-qmp", f"unix:{monitor},server=on,wait=off"]
    command += ["-netdev", f"tap,id=cable,ifname={TAP},script=no,downscript=no"]
    command += ["-device", "virtio-net-pci,netdev=cable,romfile="]
    command += ["-kernel", str(machine_image.kernel()), "-initrd", str(disk), "-append"]
    command += [f"console=ttyS0 quiet panic=-1 address={net.address(name)} gateway={gateway}"]
    with net.inside(name), (folder / "qemu.log").open("ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        door = (net.address(name), machine_init.PORT)
        with net.inside(name):
            inside = Lines(_reach(door, process))
        made = Machine(process, _greeted(monitor), inside)
        try:
            yield made
        finally:
            made.end()
    finally:
        process.kill()
        process.wait(END_S)


def _plug(net: Network, name: str) -> str:
    """Lead the cable of a network's machine to a card; return the address of its gateway."""
    address = net.address(name)
    subnet = address.rpartition(".")[0]
    with net.inside(name):
        for words in (
            ("tuntap", "add", TAP, "mode", "tap"),
            ("link", "add", BRIDGE, "type", "bridge"),
            ("link", "set", "uplink", "master", BRIDGE),
            ("link", "set", TAP, "master", BRIDGE),
            ("address", "flush", "dev", "uplink"),
            ("link", "set", TAP, "up"),
            ("link", "set", BRIDGE, "up"),
            ("address", "add", f"{subnet}.3/24", "dev", BRIDGE),
        ):
            subprocess.run(["ip", *words], check=True, capture_output=True)
    return f"{subnet}.1"


def _reach(door: tuple[str, int], process: subprocess.Popen[bytes]) -> socket.socket:
    """Connect to the first process, as soon as there is one."""
    give_up_at = time.monotonic() + START_MAX_S
    while time.monotonic() < give_up_at and process.poll() is None:
        with suppress(OSError):
            opened = socket.create_connection(door, timeout=1.0)
            opened.settimeout(None)
            return opened
        select.select([], [], [], 0.1)
    raise AssertionError("the virtual machine did not come up")


def _greeted(path: Path) -> Lines:
    """Open the monitor and agree on how to talk."""
    opened = socket.socket(socket.AF_UNIX)
    opened.connect(str(path))
    monitor = Lines(opened)
    monitor.hear(ANSWER_MAX_S)  # who it is
    monitor.send({"execute": "qmp_capabilities"})
    said = monitor.hear(ANSWER_MAX_S)
    assert "return" in said, said
    return monitor


def environ_of(environ: dict[str, str]) -> dict[str, str]:
    """Return what of an environment means something in there."""
    kept = ("PATH", "HOME", "LANG", "PYTHONPATH")
    ours = ("COORD_", "ETCDCTL_")
    found = {key: value for key, value in environ.items() if key.startswith(ours) or key in kept}
    return {"HOME": os.sep, **found}
