"""Page beside a demonstration, as a process of its own: `coord ui` for one group."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from coordinator.runtime.linux import interpreter
from coordinator.runtime.linux.syscalls import set_death_signal

#: The usual port of the page; another one where it is taken.
HOST, PORT = "127.0.0.1", 8009


class PageProcess:
    """Process that serves the page; its address is known once it listens."""

    __slots__ = ("_out", "process")

    def __init__(self, group: str, home: Path, environ: Mapping[str, str]) -> None:
        self._out = home / "page.log"
        command = [*interpreter.command("coordinator.cli"), "ui", "--quiet", "--group", group]
        with self._out.open("wb") as out:
            self.process = subprocess.Popen(
                [*command, "--listen", f"{HOST}:{_free_port()}"],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.DEVNULL,
                cwd=home,  # no Config.toml
                env=dict(environ),
                start_new_session=True,  # Ctrl-C reaches the demonstration only
                preexec_fn=_end_with_parent,
            )

    def address(self) -> str:
        """Return the address that a browser takes; empty before there is one."""
        line, complete, _ = self._out.read_text(errors="replace").partition("\n")
        return line if complete else ""


def installed() -> bool:
    """Return True if the extra of the page is installed."""
    return find_spec("starlette") is not None and find_spec("uvicorn") is not None


def _free_port() -> int:
    """Return the usual port, or 0 for any other if something listens there."""
    with socket.socket() as asked:
        asked.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            asked.bind((HOST, PORT))
        except OSError:
            return 0
    return PORT


def _end_with_parent() -> None:
    """Let the page get SIGTERM when the demonstration dies; called in the child."""
    set_death_signal(signal.SIGTERM)
