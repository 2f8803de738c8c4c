"""Thread that reads the database for those who ask a node over HTTP.

It begins with the first question, and its connection is open only while somebody asks. So a node
whose metrics nobody reads has one connection, and no check waits for SQL.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from coordinator.errors import CoordError
from coordinator.web.http1 import Reply
from coordinator.web.node.routes import Read
from coordinator.web.node.samples import Figures
from coordinator.web.server import Deliver

#: An answer is given to all who ask within this time of it: ten scrapers cost as much as one.
FRESH_S = 1.0
#: The connection is closed when nobody has asked for this long; scrapers ask once a minute.
IDLE_S = 150.0
#: More questions at the same time are refused: nothing waits without a bound.
WAITING_MAX = 64
UNAVAILABLE = 503

Document = Mapping[str, Any]
Found = Document | Figures | CoordError


class Source(Protocol):
    """Connection that reads about one group; after an error it is closed."""

    def document(self, wanted: Read) -> Document:
        """Return the document of a path."""
        ...

    def figures(self) -> Figures:
        """Return the figures of the group."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


@dataclass(frozen=True, slots=True)
class Question:
    """One question, and how its answer is written and delivered."""

    wanted: Read
    write: Callable[[Found], Reply]
    deliver: Deliver


class Reader:
    """Thread over a source; `connect` opens one, `now` only goes on."""

    def __init__(self, connect: Callable[[], Source], now: Callable[[], float]) -> None:
        self._connect, self._now = connect, now
        self._changed = threading.Condition()
        self._waiting: list[Question] = []
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._source: Source | None = None
        self._known: dict[Read, tuple[float, Found]] = {}

    def ask(self, question: Question) -> str | None:
        """Take a question, whose answer is delivered later; return why it cannot be answered."""
        with self._changed:
            if len(self._waiting) >= WAITING_MAX:
                return "too many questions wait for the database"
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="coord-http-reader", daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    return "this machine has no thread to spare"
                self._thread = thread
            self._waiting.append(question)
            self._changed.notify()
        return None

    def close(self) -> None:
        """Stop; a statement that is under way is left to end by itself."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def _run(self) -> None:
        while (questions := self._next()) is not None:
            for question in questions:
                found = self._found(question.wanted)
                question.deliver(_written(question, found))
        self._disconnect()

    def _next(self) -> list[Question] | None:
        """Return the questions that wait; None at the end. Idle for long, it disconnects."""
        with self._changed:
            while not self._waiting and not self._stopping:
                idle_s = IDLE_S if self._source is not None else None
                if not self._changed.wait(idle_s):
                    self._disconnect()
                    self._known.clear()
            questions, self._waiting = self._waiting, []
            return None if self._stopping else questions

    def _found(self, wanted: Read) -> Found:
        """Return an answer that is fresh, or read it."""
        at, found = self._known.get(wanted, (float("-inf"), None))
        if found is None or self._now() - at > FRESH_S:
            found = self._read(wanted)
            self._known[wanted] = (self._now(), found)
        return found

    def _read(self, wanted: Read) -> Found:
        try:
            if self._source is None:
                self._source = self._connect()
            if wanted is Read.METRICS:
                return self._source.figures()
            return self._source.document(wanted)
        except CoordError as error:
            self._disconnect()
            return error
        except Exception as error:  # noqa: BLE001 - top of the thread: the next question tries again
            self._disconnect()
            return CoordError(f"unexpected {type(error).__name__}")

    def _disconnect(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            with suppress(CoordError):
                source.close()


def _written(question: Question, found: Found) -> Reply:
    """Write an answer; a bug in it must not end the thread, and is the server's own error."""
    try:
        return question.write(found)
    except Exception as error:  # noqa: BLE001 - top of the thread
        return Reply(500, {"error": f"unexpected {type(error).__name__}"}, None)
