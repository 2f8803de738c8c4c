"""The door of a node: a socket at which processes of its user ask for one-off commands.

An asker is told the node's name at once, sends one request, and gets one answer: how its command
ended, or why it is not run. When its connection ends, so does its command. Nothing here waits.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
from collections.abc import Iterable, Iterator

from coordinator.app.config.settings import NodeSettings
from coordinator.app.node.one_off import words
from coordinator.protocol.node.events import Event, OneOffAsked, OneOffWithdrawn, TellAsker
from coordinator.protocol.node.state.node import active
from coordinator.runtime.agent.loop import Agent
from coordinator.runtime.linux.channel import Channel
from coordinator.runtime.log import logger as log

#: Askers at the same time; one more is sent away.
ASKERS_MAX = 64


class OneOffDoor:
    """Listening socket and askers of one agent, behind one descriptor."""

    def __init__(self, agent: Agent, settings: NodeSettings, logger: logging.Logger) -> None:
        self._agent, self._settings = agent, settings
        self._epoll = select.epoll()
        self._listener: socket.socket | None = None
        self._askers: dict[int, Channel] = {}
        self._asked: set[int] = set()  #: askers whose request was taken in
        self._count = 0
        try:
            address = words.random_address(settings.group_id, os.geteuid())
            self._listener = words.bound(address, ASKERS_MAX)
            self._epoll.register(self._listener, select.EPOLLIN)
        except OSError as error:
            fields = {"group": settings.group_id, "node": settings.task_id}
            text = f"no one-off commands on this node (coord when-active): {error}"
            log.say(logger, "no-one-offs", f"{settings.group_id}: {text}", fields)

    def fileno(self) -> int:
        """Return a descriptor that is readable when somebody asks, or has gone."""
        return self._epoll.fileno()

    def events(self) -> Iterable[Event]:
        """Return what has been asked and withdrawn since the last call."""
        ready = {fd for fd, _ in self._epoll.poll(0)}
        if not ready:
            return ()
        events: list[Event] = []
        for number, asker in tuple(self._askers.items()):
            if asker.fileno() in ready:
                events.extend(self._read(number, asker))
        if self._listener is not None and self._listener.fileno() in ready:
            self._let_in(self._listener)
        return events

    def tell(self, command: TellAsker) -> None:
        """Tell an asker how its request ended, and close the door behind it."""
        asker = self._askers.get(command.ask)
        if asker is not None:
            asker.send({"code": command.code, "why": command.why}, wait_s=0.0)
            self._forget(command.ask)

    def close(self) -> None:
        """Close everything: whoever still asks sees the end."""
        for number in tuple(self._askers):
            self._forget(number)
        if self._listener is not None:
            self._listener.close()
        self._epoll.close()

    def _let_in(self, listener: socket.socket) -> None:
        try:
            end, _ = listener.accept()
        except OSError:
            return  # it has gone, or there is no descriptor: it is looked at again
        if len(self._askers) >= ASKERS_MAX or not words.is_own(end):
            end.close()
            return
        end.setblocking(True)  # a channel says for each call whether it may wait
        self._count += 1
        asker = self._askers[self._count] = Channel(end)
        self._epoll.register(asker, select.EPOLLIN)
        is_active = active(self._agent.node, self._agent.clock.now())
        asker.send({"node": self._settings.task_id, "active": is_active}, wait_s=0.0)

    def _read(self, number: int, asker: Channel) -> Iterator[Event]:
        received, now = None, self._agent.clock.now()
        with contextlib.suppress(ValueError):
            received = asker.poll()
            if received is None:
                return
        message, fds = received or (None, [])
        for fd in fds:
            os.close(fd)
        if message is None or "stop" in message:
            if message is None:
                self._forget(number)
            yield OneOffWithdrawn(now, number)
        elif number not in self._asked and isinstance(message.get("run"), str):
            self._asked.add(number)
            pid = asker.maker_pid()
            yield OneOffAsked(now, number, message["run"], f"process {pid}")

    def _forget(self, number: int) -> None:
        asker = self._askers.pop(number)
        self._asked.discard(number)
        self._epoll.unregister(asker)
        asker.close()
