"""A group under fire: three nodes, a database, and whatever a fault may take hold of."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from tests.faults.campaign.history import History, Injection, News, Reader, Row, Run, Span
from tests.faults.campaign.limits import HEARTBEAT_S, LIVENESS_S, STEP_S, WAIT_S
from tests.faults.campaign.remembered import Remembered, boottime
from tests.support.nodes.processes import Bed, RunningNode, descendants, eventually
from tests.support.servers.postgres import Server

NAMES = ("node-1", "node-2", "node-3")
WORKER = Path(__file__).with_name("worker.py")
SITE = Path(psycopg.__file__).parents[1]
#: No constraint but the order of writing: whatever the fence lets through shows.
UNITS = """
CREATE TABLE IF NOT EXISTS {schema}.campaign_unit (
    place bigint GENERATED ALWAYS AS IDENTITY, number bigint, node text, term bigint,
    session text, pid int, attempt int);
CREATE INDEX IF NOT EXISTS campaign_unit_number ON {schema}.campaign_unit (number);
GRANT ALL ON {schema}.campaign_unit TO public
"""
ROWS = "SELECT place, number, node, term, session, pid, attempt FROM {schema}.campaign_unit"
#: Nodes that live and beat; the text compares a heartbeat with the server's own clock.
LIVE = (
    "SELECT task_id, session::text, beat FROM {schema}.health_check"
    " WHERE group_id = %s AND ended_at IS NULL"
    " AND clock_timestamp() - last_heartbeat < make_interval(secs => %s)"
)
HELD = "SELECT task_id, session::text, term FROM {schema}.token_holder WHERE group_id = %s"
#: Settings of the campaign's own statements, whatever others set.
CALM = " ".join(
    f"-c {name}={value}"
    for name, value in {
        "datestyle": "ISO",
        "client_encoding": "UTF8",
        "default_transaction_read_only": "off",
        "default_transaction_isolation": "read\\ committed",
        "extra_float_digits": "1",
        "idle_in_transaction_session_timeout": "0",
        "idle_session_timeout": "0",
        "lock_timeout": "0",
        "search_path": "public",
        "statement_timeout": "0",
    }.items()
)
#: A program that has written this recently runs.
FRESH_S = 0.3
#: Time for which a thread may go on while others want to, as it is everywhere else.
SWITCH_S = sys.getswitchinterval()
#: Between two looks at what has no event of its own.
LOOK_S = 0.02


def worker(record: Path, schema: str, conninfo: str, *, deaf: bool = False) -> tuple[str, ...]:
    """Return the command of the campaign's program."""
    command = (sys.executable, "-S", str(WORKER), str(record), str(SITE), schema, conninfo)
    return (*command, "--deaf") if deaf else command


@dataclass
class Ground:
    """One group and its history so far; `launch` starts a node of a name."""

    bed: Bed
    server: Server
    dbname: str
    rng: random.Random
    launch: Callable[[str], object]
    parts: dict[str, object] = field(default_factory=dict)  #: extras of a kind of ground
    history: History = field(default_factory=History)
    holder_share: float = 0.85  #: so often a fault's victim is the holder, else a standby
    judged_terms: bool = True  #: true if the store keeps token_history
    whole: Callable[[Ground], bool] | None = None  #: another store's way to see that all is well
    _reader: Reader = field(default_factory=Reader)
    _offset: int = 0
    _admin: psycopg.Connection[tuple[object, ...]] | None = None
    _known: Remembered = field(default_factory=Remembered)

    # --- what the programs wrote ----------------------------------------------------------------

    def read(self) -> Reader:
        """Take in what was written since the last look."""
        if self.bed.record.exists():
            with self.bed.record.open("rb") as file:
                file.seek(self._offset)
                text = file.read()
            whole, newline, _ = text.rpartition(b"\n")
            self._offset += len(whole) + len(newline)
            self._reader.take_in(whole.decode().splitlines())
        return self._reader

    def holder(self) -> Run:
        """Return the run that wrote last; waits for the first one."""
        found = eventually(lambda: self.read().newest, WAIT_S, lambda: f"a run{self.bed.story()}")
        assert isinstance(found, Run)
        return found

    def wait_for_run(self, after: int, within_s: float = WAIT_S) -> Run:
        """Wait until the program runs under a term above `after`."""

        def newest() -> Run | None:
            return next((run for run in self.read().runs if run.term > after), None)

        found = self.wait(newest, f"a run with a term above {after}", within_s)
        assert isinstance(found, Run)
        return found

    def run_on(self, for_s: float) -> None:
        """Wait until the running program has written for so many seconds more."""
        mark = boottime() + for_s
        self.wait(lambda: self.holder().end > mark, "the program runs on")

    def wait(self, condition: Callable[[], object], what: str, within_s: float = WAIT_S) -> object:
        """Look until the condition holds, less often than tests do: many groups share two cores."""
        pause = threading.Event()
        give_up_at = boottime() + within_s
        while not (value := condition()):
            assert boottime() < give_up_at, f"not within {within_s:g} s: {what}{self.bed.story()}"
            pause.wait(LOOK_S)
        return value

    def pass_time(self, for_s: float) -> None:
        """Let a fault last; there is no event that says how long."""
        until = boottime() + for_s
        self.wait(lambda: boottime() >= until, "time passes", for_s + WAIT_S)

    # --- what the database remembers ------------------------------------------------------------

    def ask(self, statement: str, *values: object) -> list[tuple[object, ...]] | None:
        """Ask the server through its own socket; None when it does not answer."""
        text = statement.replace("{schema}", self.bed.schema)
        try:
            if self._admin is None or self._admin.closed:
                conninfo = make_conninfo(self.server.conninfo(self.dbname), options=CALM)
                self._admin = psycopg.connect(conninfo, autocommit=True)
            cursor = self._admin.execute(text, values or None)
            return cursor.fetchall() if cursor.description else []
        except psycopg.OperationalError:
            self.forget_connection()
            return None

    def forget_connection(self) -> None:
        """Connect anew for the next question; the server is another one."""
        if self._admin is not None:
            self._admin.close()
        self._admin = None

    def live(self) -> dict[str, tuple[str, int]]:
        """Return session and beat of every node that beats."""
        rows = self.ask(LIVE, self.bed.group, 3 * HEARTBEAT_S) or []
        return {str(node): (str(session), int(str(beat))) for node, session, beat in rows}

    def held_by(self) -> tuple[str, str, int] | None:
        """Return node, session and term of the token's row; None when nobody holds it."""
        rows = self.ask(HELD, self.bed.group)
        if not rows or rows[0][1] is None:
            return None
        return str(rows[0][0]), str(rows[0][1]), int(str(rows[0][2]))

    def note_grants(self) -> None:
        """Keep what the server remembers of holdings, before it may be lost."""
        if not self.judged_terms:
            return
        self._known.take_in(self.ask, self.bed.group)

    # --- nodes ------------------------------------------------------------------------------------

    def node(self, name: str) -> RunningNode:
        return self.bed.nodes[name]

    def victim(self) -> str:
        """Choose a node: mostly the holder, else a standby."""
        name = self.holder().node
        if self.rng.random() < self.holder_share:
            return name
        return self.rng.choice([other for other in NAMES if other != name])

    def start_missing(self) -> None:
        """Start every node whose process has ended."""
        for name in NAMES:
            node = self.bed.nodes.get(name)
            if node is not None and node.process.poll() is not None:
                node.end()
                self.launch(name)

    def said_since(self, name: str, words: str) -> Callable[[], bool]:
        """Return a condition: the node says these words once more than it has by now."""
        node = self.node(name)
        before = node.said().count(words)
        return lambda: node.said().count(words) > before

    def wait_for_whole(self) -> float:
        """Wait until three nodes beat anew, one of them holds, and its program runs; return when.

        Two further beats of each session show that no fault is still at work in it.
        """
        first: dict[str, tuple[str, int]] = {}

        def whole() -> bool:
            nonlocal first
            self.start_missing()
            if self.whole is not None:
                return self.whole(self)
            live = self.live()
            if {name: session for name, (session, _) in live.items()} != {
                name: session for name, (session, _) in first.items()
            }:
                first = live
            beaten = [name for name, (_, beat) in live.items() if beat >= first[name][1] + 2]
            return len(beaten) == len(NAMES) and self._runs_as_recorded(live)

        self.wait(whole, "the group is whole again")
        return boottime()

    def _runs_as_recorded(self, live: dict[str, tuple[str, int]]) -> bool:
        held, run = self.held_by(), self.read().newest
        if held is None or run is None or held[1] not in {each for each, _ in live.values()}:
            return False
        return (run.node, run.session, run.term) == held and boottime() - run.end < FRESH_S

    def freeze(self, name: str) -> Callable[[], None]:
        """SIGSTOP every process of a node, as a suspend does; return what wakes them."""
        node = self.node(name)
        family = [node.process.pid, *descendants(node.process.pid)]
        return self.stop_still(name, family, whole=True)

    def stop_still(self, name: str, pids: list[int], *, whole: bool) -> Callable[[], None]:
        """SIGSTOP a node's program, or all of it; the returned call wakes it, the program first."""
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        since = boottime()

        def wake() -> None:
            # A machine wakes at one moment: no other lane may run between two of these signals.
            sys.setswitchinterval(1.0)
            self.history.frozen.append(Span(since, boottime(), name, whole))
            for pid in reversed(pids):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
            sys.setswitchinterval(SWITCH_S)

        return wake

    # --- the whole story ------------------------------------------------------------------------

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Note that nobody can take the token while this lasts."""
        since = boottime()
        try:
            yield
        finally:
            self.history.outages.append(Span(since, boottime()))

    def inject(
        self,
        fault: str,
        bound_s: float,
        inject: Callable[[Ground], None],
        *,
        news: News = "prompt",
        until_whole: bool = True,
    ) -> None:
        """Inject one fault at a random moment of a heartbeat, and wait until all is well again."""
        self.pass_time(self.rng.uniform(STEP_S, HEARTBEAT_S))
        at = boottime()
        healed_at = None
        try:
            inject(self)
            healed_at = boottime()
            if until_whole:
                self.wait_for_whole()
        finally:
            self.history.injections.append(
                Injection(
                    fault=fault,
                    at=at,
                    until=boottime(),
                    bound_s=bound_s,
                    news=news,
                    healed_at=healed_at,
                )
            )

    def close(self) -> History:
        """End the group, and return everything that happened to it."""
        self.history.ended_at = boottime()
        self.note_grants()
        self.bed.end()
        self.forget_connection()
        self.note_grants()
        rows = self.ask(ROWS)
        self.forget_connection()
        assert rows is not None, "the server does not answer in the end"
        reader = self.read()
        self.history.runs, self.history.units = reader.runs, reader.units
        self.history.grants = self._known.grants if self.judged_terms else None
        self.history.told = self._known.told
        self.history.rows = [_row(row) for row in rows]
        return self.history


def _row(row: tuple[object, ...]) -> Row:
    place, number, node, term, session, pid, attempt = row
    return Row(
        place=int(str(place)),
        number=int(str(number)),
        node=str(node),
        term=int(str(term)),
        session=str(session),
        pid=int(str(pid)),
        attempt=int(str(attempt)),
    )


def prepare(bed: Bed, server: Server, dbname: str, schema: str) -> None:
    """Migrate the schema and create the table of fenced units, before any program runs."""
    from coordinator.store.schema import migrate

    bed.liveness_s, bed.heartbeat_s = LIVENESS_S, HEARTBEAT_S
    migrate.upgrade(server.conninfo(dbname), schema)
    server.query(UNITS.replace("{schema}", schema), dbname=dbname)


def start_group(ground: Ground) -> None:
    """Start the three nodes and wait until the group is whole."""
    for name in NAMES:
        ground.launch(name)
    ground.history.began_at = ground.wait_for_whole()
