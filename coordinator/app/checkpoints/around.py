"""Server of a node's disks, and launcher of its program, around the node's own work."""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

from coordinator.app.checkpoints.variables import FD_VARIABLE
from coordinator.app.config.settings import NodeSettings
from coordinator.runtime.agent.guardian_link import Orders
from coordinator.runtime.linux import interpreter
from coordinator.runtime.linux.clock import BoottimeClock

#: Time that the server has to end; its connections are closed then.
END_S = 5.0
#: A server says with each disk, and after each turn, that it lives; either takes less than this.
SILENT_MAX_S = 60.0
#: Before a server that died is started again: the first time, doubled with each, and at most.
AGAIN_FIRST_S = 1.0
AGAIN_MAX_S = 60.0


def loading(settings: NodeSettings, settings_fd: int, given: Orders) -> Orders:
    """Return the orders with the last checkpoint loaded first, where a directory is configured."""
    if settings.checkpoints.directory is None:
        return given
    launcher = interpreter.command("coordinator.app.checkpoints.launcher")
    keep = tuple(dict.fromkeys((*given.keep_fds, settings_fd)))
    env = {**given.env, FD_VARIABLE: str(settings_fd)}
    return replace(given, argv=(*launcher, "--", *given.argv), env=env, keep_fds=keep)


@contextlib.contextmanager
def served_disks(settings: NodeSettings, settings_fd: int) -> Iterator[None]:
    """Have the segments of this node served, while the body runs; nothing without [[disks]]."""
    if not settings.checkpoints.disks:
        yield
        return
    served = _ServedDisks(
        interpreter.command("coordinator.app.checkpoints.serving", str(settings_fd)), settings_fd
    )
    served.start()
    try:
        yield
    finally:
        served.end()


class _ServedDisks:
    """The server's process, and another one when it has died: its disks show as online meanwhile.

    No want of a process ends an agent (G8): others take other devices until there is one.
    """

    def __init__(self, command: Sequence[str], settings_fd: int) -> None:
        self._command, self._settings_fd = command, settings_fd
        self._changing = threading.Lock()
        self._over = threading.Event()
        self._server: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name="coord-disks", daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def end(self) -> None:
        """End the server, which has END_S for that."""
        self._over.set()
        with self._changing:
            server = self._server
        if server is not None:
            assert server.stdin is not None, "it has a pipe"
            server.stdin.close()
        self._thread.join(END_S)
        if self._thread.is_alive() and server is not None:
            server.kill()  # a disk may hang; nothing waits for it

    def _run(self) -> None:
        clock, pause_s = BoottimeClock(), AGAIN_FIRST_S
        while not self._over.is_set():
            began_s = clock.now()
            said = self._lived()
            if self._over.is_set():
                return
            if clock.now() - began_s > AGAIN_MAX_S:
                pause_s = AGAIN_FIRST_S
            sys.stderr.write(
                f"coord: the disks of this node are not served: {said}; again in {pause_s:.0f} s\n"
            )
            self._over.wait(pause_s)
            pause_s = min(2 * pause_s, AGAIN_MAX_S)

    @staticmethod
    def _said_nothing(server: subprocess.Popen[bytes]) -> bool:
        """Wait for the end of a server; true when it lives and says nothing any more."""
        assert server.stdout is not None, "it has a pipe"
        with selectors.DefaultSelector() as told:
            told.register(server.stdout, selectors.EVENT_READ)
            while told.select(SILENT_MAX_S):
                if not os.read(server.stdout.fileno(), 4096):
                    return False
        return True

    def _lived(self) -> str:
        """Start a server, and return why there is none any more."""
        with self._changing:
            if self._over.is_set():
                return ""
            # It ends with this process: the other end of its standard input is closed then.
            try:
                self._server = subprocess.Popen(
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    pass_fds=(self._settings_fd,),
                    env=interpreter.environment(),
                )
            except OSError as error:
                return str(error.strerror)
        hung = self._said_nothing(self._server)
        if hung:
            self._server.kill()  # one that stands still, too
        code = self._server.wait()
        for pipe in (self._server.stdin, self._server.stdout):
            if pipe is not None and not self._over.is_set():
                pipe.close()
        if hung:
            return f"their process said nothing for {SILENT_MAX_S:.0f} s, and was killed"
        return f"their process ended by signal {-code}" if code < 0 else f"it ended with {code}"
