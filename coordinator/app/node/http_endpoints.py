"""State of the node over HTTP, if `--listen` or `[http] listen` is set."""

from __future__ import annotations

import logging

from coordinator.ports import Clock
from coordinator.protocol.node.state.node import Node
from coordinator.runtime.agent.loop import Agent
from coordinator.runtime.log import logger as log
from coordinator.web.endpoints import Reply, Snapshot, reply
from coordinator.web.server import Server, split_address


class HttpEndpoints:
    """Last snapshot of a node, served over HTTP.

    Errors: ConfigError if it cannot listen on the address.
    """

    def __init__(
        self, agent: Agent, clock: Clock, listen: str | None, logger: logging.Logger
    ) -> None:
        self._clock = clock
        self._snapshot = Snapshot(agent.node, clock.now(), float("-inf"))
        self._server: Server | None = None
        if listen is None:
            return
        self._server = Server(*split_address(listen), self._answer)
        agent.onlookers.append(self._observe)
        policy = agent.node.policy
        fields = {"group": policy.group, "node": policy.node}
        text = f"{policy.group}: HTTP on {self._server.where}"
        log.say(logger, "http-on", text, fields)

    def close(self) -> None:
        """Stop serving."""
        if self._server is not None:
            self._server.close()

    def _answer(self, path: str) -> Reply:
        return reply(path, self._snapshot, self._clock.now())

    def _observe(self, node: Node) -> None:
        if self._server is not None:
            self._server.begin()
        now, before = self._clock.now(), self._snapshot
        answered = node.view is not None and node.view is not before.node.view
        self._snapshot = Snapshot(node, now, now if answered else before.answered_at)
