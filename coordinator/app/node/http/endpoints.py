"""State of the node over HTTP, if `--listen` or `[http] listen` is set."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib import resources

from coordinator import __version__
from coordinator.app.config.settings import NodeSettings
from coordinator.app.node.http.counting import Counted
from coordinator.app.node.http.reader import UNAVAILABLE, Found, Question, Reader, Source
from coordinator.errors import CoordError
from coordinator.ports import Clock
from coordinator.protocol.node.state.node import Node
from coordinator.runtime.agent.loop import Agent
from coordinator.runtime.log import logger as log
from coordinator.web.http1 import Reply, Request
from coordinator.web.line_server import LineServer
from coordinator.web.listening import split_address
from coordinator.web.node.checks import Snapshot, agent_line, reply, term_of
from coordinator.web.node.exposition import exposed
from coordinator.web.node.routes import Read, route
from coordinator.web.node.samples import Figures, samples
from coordinator.web.server import Deliver, Server


class HttpEndpoints:
    """Last snapshot of a node, and its group as the database has it, served over HTTP.

    Errors: ConfigError if it cannot listen on the address.
    """

    def __init__(
        self, agent: Agent, clock: Clock, settings: NodeSettings, logger: logging.Logger
    ) -> None:
        self._clock = clock
        self._snapshot = Snapshot(agent.node, clock.now(), float("-inf"))
        self._server: Server | None = None
        self._lines: LineServer | None = None
        self._reader: Reader | None = None
        if settings.listen is None and settings.agent_check is None:
            return
        agent.onlookers.append(self._observe)
        if settings.agent_check is not None:
            where = split_address(settings.agent_check)
            self._lines = LineServer(*where, self._line, setting="http.agentCheck")
        if settings.listen is not None:
            self._serve(settings.listen, settings, logger)

    def _serve(self, listen: str, settings: NodeSettings, logger: logging.Logger) -> None:
        counted = Counted(self._clock.now)
        self._reader = Reader(lambda: _source(settings, counted), self._clock.now)
        self._server = Server(*split_address(listen), self._answer, self._term)
        policy = self._snapshot.node.policy
        fields = {"group": policy.group, "node": policy.node}
        text = f"{policy.group}: HTTP on {self._server.where}"
        log.say(logger, "http-on", text, fields)

    def close(self) -> None:
        """Stop serving."""
        for one in (self._server, self._reader, self._lines):
            if one is not None:
                one.close()

    def _answer(self, request: Request, deliver: Deliver) -> Reply | None:
        """Answer from the node's state, or have the database read for the answer."""
        found = route(request.path, self._snapshot.node.policy.group)
        match found:
            case Reply():
                return found
            case Read():
                return self._ask(found, request, deliver)
            case str():
                return Reply(200, _description(), self._term())
            case _:
                return reply(found, self._snapshot, self._clock.now())

    def _ask(self, wanted: Read, request: Request, deliver: Deliver) -> Reply | None:
        accept = request.headers.get("accept", "")
        write: Callable[[Found], Reply] = self._document
        if wanted is Read.METRICS:
            write = lambda found: self._metrics(found, accept)  # noqa: E731
        assert self._reader is not None, "there is a server that asks"
        why_not = self._reader.ask(Question(wanted, write, deliver))
        return None if why_not is None else Reply(UNAVAILABLE, {"error": why_not}, self._term())

    def _document(self, found: Found) -> Reply:
        assert not isinstance(found, Figures), "documents were asked for"
        if isinstance(found, CoordError):
            return Reply(UNAVAILABLE, {"error": str(found)}, self._term())
        return Reply(200, found, self._term())

    def _metrics(self, found: Found, accept: str) -> Reply:
        """Write the metrics; without the database, those of the node alone."""
        figures = found if isinstance(found, Figures) else None
        made = samples(self._snapshot, figures, self._clock.now(), __version__)
        return exposed(made, accept, self._term())

    def _line(self) -> str:
        return agent_line(self._snapshot, self._clock.now())

    def _term(self) -> int:
        return term_of(self._snapshot.node)

    def _observe(self, node: Node) -> None:
        for one in (self._server, self._lines):
            if one is not None:
                one.begin()
        now, before = self._clock.now(), self._snapshot
        answered = node.view is not None and node.view is not before.node.view
        self._snapshot = Snapshot(node, now, now if answered else before.answered_at)


def _source(settings: NodeSettings, counted: Counted) -> Source:
    # A node whose metrics nobody reads does not load what reads them.
    from coordinator.app.node.http.source import GroupSource

    return GroupSource(settings, counted)


def _description() -> bytes:
    """Return the description of the endpoints, which was derived from their shapes."""
    return resources.files("coordinator.web.node").joinpath("openapi.json").read_bytes()
