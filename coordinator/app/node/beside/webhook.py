"""The sender of the group's events to its webhook, as the node that holds the token starts it.

It is a process of its own: a resolver, TLS and a receiver that answers slowly or without an end
stay out of the process that beats (ADR 42). It lives for one session that holds.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess

from coordinator.app.config.settings import NodeSettings
from coordinator.protocol.node.state.node import Node, holds
from coordinator.runtime.agent.loop import Agent
from coordinator.runtime.linux import interpreter
from coordinator.runtime.log import logger as log

#: A process that ends is made anew not more often than this.
AGAIN_S = 5.0
#: From the taking of the token to the start of the process: the program is started first.
FIRST_S = 1.0
#: Time for the process to give its claim back, before it is killed.
LEAVE_MAX_S = 1.0


class WebhookProcess:
    """Process of the sender, while the node holds; nothing without a webhook."""

    def __init__(
        self, agent: Agent, settings: NodeSettings, settings_fd: int, logger: logging.Logger
    ) -> None:
        self._settings, self._settings_fd = settings, settings_fd
        self._clock, self._logger = agent.clock, logger
        self._process: subprocess.Popen[bytes] | None = None
        self._session: str | None = None  #: the one that it sends for, or is to send for
        self._next_at = 0.0
        self._kill_at: float | None = None  #: it was told to leave
        if settings.hooks is not None and settings.hooks.webhook is not None:
            agent.onlookers.append(self._look)

    def _look(self, node: Node) -> None:
        """Start or end the process, as the node holds or not; called after each step of it."""
        now = self._clock.now()
        session = node.session if holds(node) else None
        if session != self._session:
            self._session, self._next_at = session, now + FIRST_S
            self._tell_to_leave(now)
        if self._process is not None and self._process.poll() is None:
            if self._kill_at is not None and now >= self._kill_at:
                self._process.kill()
            return
        self._process, self._kill_at = None, None
        if session is not None and now >= self._next_at:
            self._next_at = now + AGAIN_S
            self._start(session)

    def close(self) -> None:
        """End the process."""
        self._tell_to_leave(self._clock.now())
        if self._process is None:
            return
        try:
            self._process.wait(LEAVE_MAX_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _tell_to_leave(self, now: float) -> None:
        if self._process is not None and self._kill_at is None:
            self._kill_at = now + LEAVE_MAX_S
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()

    def _start(self, session: str) -> None:
        options = ["--settings-fd", str(self._settings_fd), "--parent", str(os.getpid())]
        options += ["--session", session]
        command = interpreter.command("coordinator.app.webhook.process", *options)
        try:
            self._process = subprocess.Popen(
                command, pass_fds=(self._settings_fd,), stdin=subprocess.DEVNULL
            )
        except OSError as error:
            group = self._settings.group_id
            fields = {"group": group, "node": self._settings.task_id}
            text = f"{group}: no event is delivered now: {error.strerror or error}"
            log.say(self._logger, "webhook-late", text, fields)
