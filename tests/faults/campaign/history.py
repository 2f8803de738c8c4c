"""Read what the programs wrote and the database remembers: the judge reads nothing else.

All moments are seconds of CLOCK_BOOTTIME of one machine, so an overlap cannot hide behind two
clocks; `Grant.at` alone is the server's wall clock. Lines of a program (worker.py):

    U node term session pid start end               a unit of work of its own
    B node term session pid attempt number start    a fenced unit, before it is written
    E node term session pid attempt end outcome     its outcome, once known: ok, fail, unknown

The pid is that of the program's first process, whichever of its processes writes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

Outcome = Literal["ok", "fail", "unknown"]
#: A holding: term, node and session.
Holding = tuple[int, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One life of the program, from its first unit's start to its last unit's end."""

    node: str
    term: int
    session: str
    pid: int
    start: float
    end: float

    @property
    def holding(self) -> Holding:
        return (self.term, self.node, self.session)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One try to write a fenced unit; without an end its outcome is unknown for ever."""

    node: str
    term: int
    session: str
    pid: int
    attempt: int
    number: int
    start: float
    end: float | None = None
    outcome: Outcome = "unknown"

    @property
    def holding(self) -> Holding:
        return (self.term, self.node, self.session)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A fenced unit as the table has it; `place` rises in the order of writing."""

    place: int
    number: int
    node: str
    term: int
    session: str
    pid: int
    attempt: int

    @property
    def holding(self) -> Holding:
        return (self.term, self.node, self.session)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A row of token_history."""

    term: int
    node: str
    session: str
    at: float

    @property
    def holding(self) -> Holding:
        return (self.term, self.node, self.session)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A takeover as coord_history tells it; `acquired_at` on our clock."""

    term: int
    before_term: int
    gap_s: float
    acquired_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Number of transactions that a node made in a stretch of time."""

    node: str
    at: float
    until: float
    transactions: int


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time; of one node where `node` is named."""

    since: float
    until: float
    node: str = ""
    whole: bool = False  #: of a freeze: every process of the node, not the program alone


#: The moment at which a node's report of an end can arrive: at once; once the observer lets go of
#: what it holds; or when the kernel sends again, which after a cut takes at most as long as that.
News = Literal["prompt", "held", "sent again"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """One fault, from its beginning to the moment at which the group was whole again."""

    fault: str
    at: float
    until: float
    bound_s: float
    news: News = "prompt"
    #: The observer let go of what it had stopped, cut or locked; None: there was nothing.
    healed_at: float | None = None

    @property
    def news_until(self) -> float:
        """The moment until which a node may not have been able to see, or to say, an end."""
        if self.news == "prompt" or self.healed_at is None:
            return float("-inf")
        if self.news == "sent again":
            return self.healed_at + (self.healed_at - self.at)
        return self.healed_at


@dataclass(slots=True)
class History:
    """Everything that happened to one group."""

    runs: list[Run] = field(default_factory=list)
    units: list[Unit] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    #: None where the store under test keeps no such record.
    grants: list[Grant] | None = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    injections: list[Injection] = field(default_factory=list)
    #: Programs were stopped by a signal; they did nothing then.
    frozen: list[Span] = field(default_factory=list)
    #: The machine kept a thread that was due waiting.
    stalls: list[Span] = field(default_factory=list)
    #: Nobody could take the token: no writable database, or a row that is locked.
    outages: list[Span] = field(default_factory=list)
    #: The database may itself have lost what it acknowledged then (asynchronous failover).
    taken_back: list[Span] = field(default_factory=list)
    began_at: float = 0.0  #: from here on somebody has to hold the token
    ended_at: float = 0.0


class Reader:
    """Takes in lines as they are written, and remembers runs and fenced units."""

    def __init__(self) -> None:
        self._runs: dict[tuple[str, int, str, int], Run] = {}
        self._units: dict[tuple[str, int, str, int, int], Unit] = {}
        self.newest: Run | None = None  #: the run that wrote last

    def take_in(self, lines: Iterable[str]) -> None:
        """Read lines; one that was cut short by its writer's death is left out."""
        for line in lines:
            fields = line.split()
            if len(fields) == 7 and fields[0] == "U":
                self._unit_of_work(fields)
            elif len(fields) == 8 and fields[0] == "B":
                self._fenced_begun(fields)
            elif len(fields) == 8 and fields[0] == "E":
                self._fenced_ended(fields)

    @property
    def runs(self) -> list[Run]:
        """The runs in the order in which they began."""
        return sorted(self._runs.values(), key=lambda run: run.start)

    @property
    def units(self) -> list[Unit]:
        return list(self._units.values())

    def _unit_of_work(self, fields: list[str]) -> None:
        self._seen(fields, float(fields[5]), float(fields[6]))

    def _seen(self, fields: list[str], start: float, end: float) -> None:
        node, term, session, pid = fields[1], int(fields[2]), fields[3], int(fields[4])
        key = (node, term, session, pid)
        known = self._runs.get(key)
        run = Run(
            node=node,
            term=term,
            session=session,
            pid=pid,
            start=min(start, known.start) if known else start,
            end=max(end, known.end) if known else end,
        )
        self._runs[key] = run
        if self.newest is None or run.end >= self.newest.end:
            self.newest = run

    def _fenced_begun(self, fields: list[str]) -> None:
        start = float(fields[7])
        self._seen(fields, start, start)
        unit = Unit(
            node=fields[1],
            term=int(fields[2]),
            session=fields[3],
            pid=int(fields[4]),
            attempt=int(fields[5]),
            number=int(fields[6]),
            start=start,
        )
        self._units[(unit.node, unit.term, unit.session, unit.pid, unit.attempt)] = unit

    def _fenced_ended(self, fields: list[str]) -> None:
        node, term, session, pid = fields[1], int(fields[2]), fields[3], int(fields[4])
        key = (node, term, session, pid, int(fields[5]))
        begun, end = self._units.get(key), float(fields[6])
        self._seen(fields, end, end)
        if begun is None:
            return
        outcome: Outcome = "ok" if fields[7] == "ok" else "unknown"
        if fields[7] == "fail":
            outcome = "fail"
        self._units[key] = Unit(
            node=node,
            term=term,
            session=session,
            pid=pid,
            attempt=begun.attempt,
            number=begun.number,
            start=begun.start,
            end=end,
            outcome=outcome,
        )
