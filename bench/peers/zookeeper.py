"""A ZooKeeper of one member, for a peer that locks with kazoo."""

from __future__ import annotations

import socket
import subprocess
from contextlib import suppress
from pathlib import Path

from bench.measure import BenchError, until

#: Debian's; its manifest names everything else that it needs.
JAR = "/usr/share/java/zookeeper.jar"
#: The server grants sessions of 2 to 20 ticks and ends them at a tick: the 2 s of its sample
#: configuration would turn 3 s into 4 s, and a shorter tick ends a silent session sooner.
TICK_MS = 500
START_MAX_S = 30.0
END_S = 5.0
ANSWER_MAX = 65536


def configuration(home: Path, host: str, port: int) -> str:
    """Return zoo.cfg; what is not said keeps its default, the flush of each write to disk too."""
    lines = (
        f"tickTime={TICK_MS}",
        f"dataDir={home}",
        f"clientPort={port}",
        f"clientPortAddress={host}",
        "admin.enableServer=false",
        "4lw.commands.whitelist=srvr",
    )
    return "\n".join(lines) + "\n"


def start(home: Path, host: str, port: int) -> subprocess.Popen[bytes]:
    """Start one in the network namespace of the caller, and wait until it serves."""
    settings = home / "zoo.cfg"
    settings.write_text(configuration(home, host, port))
    # Small and quick to start: three sessions and one lock are all that it holds.
    machine = ("java", "-Xms16m", "-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
    program = ("org.apache.zookeeper.server.ZooKeeperServerMain", str(settings))
    with (home / "zookeeper.log").open("ab") as log:
        process = subprocess.Popen(
            (*machine, "-cp", JAR, *program), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    if not until(lambda: serving(answer(host, port)), START_MAX_S):
        end(process)
        raise BenchError("ZooKeeper did not come up")
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    """Leave nothing of it running."""
    process.kill()
    process.wait(END_S)


def answer(host: str, port: int) -> str:
    """Return what it says about itself; empty when it does not answer."""
    said = b""
    with suppress(OSError), socket.create_connection((host, port), timeout=1.0) as connection:
        connection.sendall(b"srvr")
        while len(said) < ANSWER_MAX and (more := connection.recv(4096)):
            said += more
    return said.decode(errors="replace")


def serving(said: str) -> bool:
    """Say whether an answer is that of a server that serves: one that starts answers too."""
    return any(line.startswith("Mode: ") for line in said.splitlines())
