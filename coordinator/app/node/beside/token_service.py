"""The token service of a node (`--tokens`), as its agent starts and ends it.

It is a process of its own: what clients do must cost the agent's heartbeats nothing. The agent has
the listening socket, so that an address that cannot be had is refused at the start, and so that
connections wait while the process is made anew.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import subprocess

from coordinator.app.config.settings import NodeSettings
from coordinator.errors import ConfigError
from coordinator.protocol.node.state.node import Node
from coordinator.runtime.agent.loop import Agent
from coordinator.runtime.linux import interpreter
from coordinator.runtime.log import logger as log
from coordinator.web.listening import split_address

#: A process that ends is made anew not more often than this.
AGAIN_S = 5.0
#: Time for the process to give its tokens back, once the node leaves.
LEAVE_MAX_S = 3.0
BACKLOG = 128
UNIX = "unix:"


class TokenServiceProcess:
    """Listening socket and process of the service; nothing without an address.

    first: no earlier agent of this node has listened there, and may just be dying.
    Errors: ConfigError when the address cannot be had, for the first agent.
    """

    def __init__(
        self,
        agent: Agent,
        settings: NodeSettings,
        settings_fd: int,
        logger: logging.Logger,
        *,
        first: bool,
    ) -> None:
        self._settings, self._settings_fd = settings, settings_fd
        self._clock, self._logger = agent.clock, logger
        self._listener: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._next_at = 0.0
        if settings.tokens is None:
            return
        agent.onlookers.append(self._look)
        if first:
            self._listener = listen(settings.tokens)
            self._say("tokens-on", f"tokens on {settings.tokens}")

    def _look(self, _node: Node) -> None:
        """Make the process, if there is none; called after each step of the node."""
        address = self._settings.tokens
        assert address is not None, "this is called with an address only"
        if self._clock.now() < self._next_at:
            return
        if self._process is not None and self._process.poll() is None:
            return
        self._next_at = self._clock.now() + AGAIN_S
        if self._process is not None:
            self._say("tokens-ended", "the token service has ended; it is started again")
        try:
            if self._listener is None:
                self._listener = listen(address, ours=True)
            self._process = self._started(self._listener)
        except (OSError, ConfigError) as error:
            self._say("tokens-off", f"no token service now: {error}")

    def close(self) -> None:
        """End the process, which gives its tokens back."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(LEAVE_MAX_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._listener is not None:
            if self._listener.family == socket.AF_UNIX:
                with contextlib.suppress(OSError):
                    os.unlink(self._listener.getsockname())
            self._listener.close()

    def _started(self, listener: socket.socket) -> subprocess.Popen[bytes]:
        fds = (self._settings_fd, listener.fileno())
        options = ["--settings-fd", str(fds[0]), "--listener-fd", str(fds[1])]
        options += ["--parent", str(os.getpid())]
        command = interpreter.command("coordinator.app.tokens.process", *options)
        return subprocess.Popen(command, pass_fds=fds, stdin=subprocess.DEVNULL)

    def _say(self, event: str, text: str) -> None:
        fields = {"group": self._settings.group_id, "node": self._settings.task_id}
        log.say(self._logger, event, f"{self._settings.group_id}: {text}", fields)


def listen(address: str, *, ours: bool = False) -> socket.socket:
    """Listen at a unix socket that its owner alone may use, or at a loopback port.

    ours: a socket that is there is this node's own, and is replaced.
    Errors: ConfigError when another process listens there, or nobody may.
    """
    try:
        if address.startswith(UNIX):
            return _listen_at_path(address.removeprefix(UNIX), ours=ours)
        host, port = split_address(address)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        with contextlib.ExitStack() as undo:
            undo.callback(listener.close)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(BACKLOG)
            undo.pop_all()
        return listener
    except OSError as error:
        raise ConfigError(f"tokens.listen: {address}: {error.strerror or error}") from error


def _listen_at_path(path: str, *, ours: bool) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with contextlib.ExitStack() as undo:
        undo.callback(listener.close)
        before = os.umask(0o177)
        try:
            try:
                listener.bind(path)
            except OSError as error:
                if error.errno != errno.EADDRINUSE or not (ours or _is_left_over(path)):
                    raise
                os.unlink(path)
                listener.bind(path)
        finally:
            os.umask(before)
        listener.listen(BACKLOG)
        undo.pop_all()
    return listener


def _is_left_over(path: str) -> bool:
    """Say whether a socket is there at which nobody listens any more."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        return probe.connect_ex(path) == errno.ECONNREFUSED
