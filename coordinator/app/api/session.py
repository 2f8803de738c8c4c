"""Session of this process in a group: one node, one connection, for any number of tokens.

It begins with the first wait, in threads of its own, and ends with `close`. When it has ended by
itself (the database refused it at its start), the next wait begins another one. After a fork the
child has none: its first wait begins one of its own.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import uuid
import warnings
import weakref
from collections.abc import Callable, Set
from contextlib import ExitStack
from dataclasses import dataclass, field
from weakref import WeakSet

from coordinator.app.api.contender import own_name
from coordinator.app.api.first_connection import NO_LIMIT, first_connection
from coordinator.app.api.setup import Setup
from coordinator.app.api.wait import Wait
from coordinator.errors import ConfigError, CoordError
from coordinator.ports import Store
from coordinator.protocol.holders.events import BodyEnded, Wish, Wished
from coordinator.protocol.holders.state import first_state
from coordinator.protocol.messages.requests import IN_PROCESS, NodeFacts
from coordinator.protocol.node.events import Finish, LogLine, StopAsked
from coordinator.protocol.node.state.node import Policy
from coordinator.runtime.agent.inbox import Inbox
from coordinator.runtime.holders.holding import LOGGER
from coordinator.runtime.holders.loop import Loop
from coordinator.runtime.linux.clock import BoottimeClock
from coordinator.store.connection.postgres import PostgresStore

#: Time that `close` waits for bodies that still run, and for the database.
CLOSE_S = 5.0
#: The same where nobody asked for it.
DISCARD_S = 1.0
CLOSED = "the coordinator is closed"
#: Sentences of the log, with their levels; everything else is for debugging.
SENTENCES = {
    "database-lost": (logging.WARNING, "the database does not answer: {why}"),
    "database-back": (logging.INFO, "the database answers again"),
    "trust-ended": (
        logging.WARNING,
        "no heartbeat was acknowledged for a whole lease: all tokens of this process are lost",
    ),
    "session-ended": (
        logging.WARNING,
        "another process ended this session: all tokens of this process are lost",
    ),
}

_logger = logging.getLogger(LOGGER)


@dataclass
class _Life:
    """One life of the session, from its thread's start to its end."""

    inbox: Inbox
    waiters: dict[int, Wait] = field(default_factory=dict)
    loop: Loop | None = None
    thread: threading.Thread | None = None
    over: CoordError | None = None
    closing: threading.Event = field(default_factory=threading.Event)


class Session:
    """Tokens of one setup in this process; callable from any thread.

    store: opens the connection; tests give another one than PostgreSQL.
    """

    def __init__(self, setup: Setup, store: Callable[[NodeFacts], Store]) -> None:
        self._setup, self._store = setup, store
        self._clock = BoottimeClock()
        self._number = 0  #: goes on in a forked child, which has waits of its parent
        self._pid = os.getpid()
        self._begin_anew()
        _sessions.add(self)

    def ask(self, wait: Wait, token: str, timeout_s: float | None) -> None:
        """Begin to wait for a token, until the wait is given up.

        timeout_s: None waits for ever, 0 does not wait.
        Errors: CoordError when the coordinator is closed, or no thread or descriptor can be had.
        """
        if os.getpid() != self._pid:
            self._begin_anew()
        with self._lock:
            if self._closed:
                raise CoordError(CLOSED)
            life = self._living()
            if self._closed:  # by a handler of a signal, meanwhile
                life.closing.set()
                life.inbox.put(StopAsked(self._clock.now(), CLOSED))
                raise CoordError(CLOSED)
            self._number += 1
            now = self._clock.now()
            wish = Wish(
                number=self._number,
                token=token,
                until=float("inf") if timeout_s is None else now + timeout_s,
                waits=timeout_s != 0,
            )
            # Noted before the wish is under way: whoever is interrupted in between can give it up.
            wait.number = wish.number
            wait.until = NO_LIMIT if timeout_s is None else wish.until
            life.waiters[wish.number] = wait
            life.inbox.put(Wished(now, wish))

    def give_up(self, wait: Wait) -> bool:
        """End a wait, or the holding that it has become; never blocks.

        Returns True if there is a release to wait for: not for a wait of a forked child's parent.
        """
        life, number = self._life, wait.number
        # A wait of another life, or of the parent of this fork, is none of this life's.
        if os.getpid() != self._pid or life is None or number not in life.waiters:
            return False
        if wait.holding is not None:
            wait.holding.given_back()
        life.inbox.put(BodyEnded(self._clock.now(), number))
        return True

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """End the session and its threads; waits are refused.

        Bodies that still run are waited for. If they run on, their tokens are not given back: the
        session ends by its silence.
        """
        if os.getpid() != self._pid:
            return
        with self._lock:
            self._closed = True
            life = self._life
        if life is None or life.thread is None:
            return
        life.closing.set()
        life.inbox.put(StopAsked(self._clock.now(), "the coordinator was closed"))
        if life.thread is threading.current_thread():
            return  # a callback of a loss: nobody can wait for the thread that calls it
        life.thread.join(timeout_s)
        if life.thread.is_alive() and life.loop is not None:
            life.loop.gives_up = True
            life.inbox.put(StopAsked(self._clock.now(), "the coordinator was closed"))
            life.thread.join(timeout_s)

    def is_open(self) -> bool:
        """Return True while a thread of this process works for the session."""
        life = self._life
        mine = os.getpid() == self._pid and life is not None and life.thread is not None
        return mine and life.thread.is_alive()  # type: ignore[union-attr]

    def begin_in_child(self) -> None:
        """Forget what the parent has; called in a fork, before it has a second thread."""
        self._begin_anew()

    def _begin_anew(self) -> None:
        # A lock may have been held at the moment of a fork, and would stay locked. Reentrant: the
        # handler of a signal may close the coordinator while its thread is in here.
        self._lock = threading.RLock()
        self._life: _Life | None = None
        self._closed = False
        self._pid = os.getpid()

    def _living(self) -> _Life:
        """Return the session's present life; begin one if there is none."""
        life = self._life
        if life is not None and life.over is None:
            return life
        try:
            life = _Life(Inbox())
        except OSError as error:
            raise CoordError(f"the session cannot begin: {error}") from error
        life.thread = threading.Thread(
            target=self._live, args=(life,), name="coord-session", daemon=True
        )
        try:
            life.thread.start()
        except RuntimeError as error:
            life.inbox.close()
            raise CoordError(f"no thread can be made for the session: {error}") from error
        except BaseException:
            # Interrupted, and nobody knows this life; its thread may have started.
            life.closing.set()
            life.inbox.put(StopAsked(self._clock.now(), CLOSED))
            raise
        self._life = life
        return life

    def _live(self, life: _Life) -> None:
        """Run one life; the top of its thread."""
        trouble: CoordError
        try:
            trouble = _error_of(self._run(life))
        except CoordError as error:
            trouble = error
        except Exception as error:  # top of the thread: nothing else would report it
            _logger.exception("the session of %s in this process has ended", self._setup.group)
            trouble = CoordError(f"the session has ended: {type(error).__name__}: {error}")
        with self._lock:
            life.over = trouble
            life.inbox.close()
            left = tuple(life.waiters.values())
            life.waiters.clear()
        for wait in left:
            wait.refused(trouble)

    def _run(self, life: _Life) -> Finish:
        setup = self._setup
        with ExitStack() as opened:
            name = opened.enter_context(own_name(setup.group, setup.task_id))
            store = self._store(self._facts(name))
            policy = Policy(node=name, group=setup.group, seed=uuid.uuid4().hex, priority=0)
            life.loop = Loop(
                first_state(policy, setup.timing),
                store,
                self._clock,
                _report,
                life.inbox,
                life.waiters,  # type: ignore[arg-type]
            )
            connection = first_connection(
                store,
                self._clock,
                life.waiters,
                life.closing,
                setup.timing.heartbeat_s,
                lambda error, ended: self._over(life, error, ended),
            )
            return life.loop.run(connection)

    def _over(self, life: _Life, error: CoordError, ended: Set[int]) -> bool:
        """End a life that has no wait but these; what is asked from now on begins another one."""
        with self._lock:
            # Before the first wait is noted, its thread may be here already.
            if not life.waiters or not ended >= life.waiters.keys():
                return False
            life.over = error
            return True

    def _facts(self, name: str) -> NodeFacts:
        timing = self._setup.timing
        return NodeFacts(
            node=name,
            group=self._setup.group,
            liveness_s=timing.liveness_s,
            heartbeat_s=timing.heartbeat_s,
            lease_s=timing.lease_s,
            priority=0,
            host=socket.gethostname(),
            pid=self._pid,
            isolation=IN_PROCESS,
            holds=True,
        )


_sessions: WeakSet[Session] = WeakSet()


def _forked() -> None:
    for session in tuple(_sessions):
        session.begin_in_child()


os.register_at_fork(after_in_child=_forked)


def session_of(setup: Setup) -> Session:
    """Return the session of a setup; nothing is opened yet."""
    return Session(setup, lambda facts: PostgresStore(setup.conninfo, setup.schema, facts))


def end_with(owner: object, session: Session) -> None:
    """Close the session when its owner is discarded, or when the interpreter ends."""
    weakref.finalize(owner, session.close, DISCARD_S)


def warn_if_open(owner: object, session: Session | None) -> None:
    """Warn that the owner of a session is discarded without being closed."""
    if session is not None and session.is_open() and not sys.is_finalizing():
        warnings.warn(
            f"unclosed {type(owner).__name__}: call close(), or use it in a with block",
            ResourceWarning,
            stacklevel=2,
            source=owner,
        )


def _error_of(finish: Finish) -> CoordError:
    """Return the error, for waits that are left, that describes the session's end."""
    if finish.code == ConfigError.exit_code:
        return ConfigError(finish.trouble)
    return CoordError(finish.trouble or CLOSED)


def _report(line: LogLine) -> None:
    """Log what the machine says, under the one logger of the library."""
    level, sentence = SENTENCES.get(line.event, (logging.DEBUG, ""))
    fields = dict(line.fields)
    text = sentence.format(**fields) if sentence else f"{line.event} {fields or ''}"
    _logger.log(level, "%s", text.rstrip())
