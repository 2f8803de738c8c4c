"""Trace of one takeover: its identifiers and spans, from its row and the moments of this node.

The identifiers follow from the session and the term, so the program's environment can name its
parent before anything is read or sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coordinator.app.admin.status import Takeover

#: Names of the spans; the others hang under the first.
TAKEOVER, DETECTED, TAKEN, STARTED = "takeover", "detected", "taken", "program started"
#: Settings of OpenTelemetry by which a collector is named.
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One span of the trace, by the database's clock."""

    name: str
    span_id: int
    parent_id: int | None
    began_at: datetime
    ended_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Start of the program under a term, by the node's own clock."""

    session: str
    term: int
    ordered_at: float
    started_at: float


def wanted(environ: Mapping[str, str]) -> bool:
    """Return true if a collector is named, and OpenTelemetry is not switched off."""
    named = any(environ.get(name) for name in ENDPOINTS)
    return named and environ.get("OTEL_SDK_DISABLED", "").lower() != "true"


def traceparent(session: str, term: int) -> str:
    """Return the variable by which the program's spans hang under the takeover (W3C)."""
    return f"00-{trace_id(session, term):032x}-{span_id(session, term, TAKEOVER):016x}-01"


def trace_id(session: str, term: int) -> int:
    """Return the identifier of the trace of a holding."""
    return _number(f"{session}/{term}", 16)


def span_id(session: str, term: int, name: str) -> int:
    """Return the identifier of a span of that trace."""
    return _number(f"{session}/{term}/{name}", 8)


def spans(takeover: Takeover, start: Start, read_at: float) -> tuple[Span, ...]:
    """Return the spans of a takeover, the first one around all others.

    read_at: own clock, when the row of the takeover was read, with its age.
    """
    acquired_at = takeover.acquired_at
    acquired_own = read_at - takeover.age_s
    ordered_at = acquired_at + _after(start.ordered_at - acquired_own)
    started_at = max(ordered_at, acquired_at + _after(start.started_at - acquired_own))
    began_at = acquired_at - _after(takeover.gap_s or 0.0)
    parts = [(TAKEN, acquired_at, ordered_at), (STARTED, ordered_at, started_at)]
    if takeover.detected_s:
        parts.insert(0, (DETECTED, acquired_at - _after(takeover.detected_s), acquired_at))
    began_at = min([began_at, *(begin for _, begin, _ in parts)])
    session, term = start.session, start.term
    whole = span_id(session, term, TAKEOVER)
    first = Span(
        name=TAKEOVER, span_id=whole, parent_id=None, began_at=began_at, ended_at=started_at
    )
    rest = (
        Span(
            name=name,
            span_id=span_id(session, term, name),
            parent_id=whole,
            began_at=begin,
            ended_at=end,
        )
        for name, begin, end in parts
    )
    return (first, *rest)


def attributes(takeover: Takeover) -> dict[str, str | int | float]:
    """Return the facts about a takeover that its first span carries."""
    facts: dict[str, str | int | float | None] = {
        "coord.group": takeover.group,
        "coord.term": takeover.term,
        "coord.from": takeover.previous,
        "coord.to": takeover.node,
        "coord.how": takeover.how,
        "coord.reason": takeover.reason or None,
        "coord.gap_seconds": takeover.gap_s,
    }
    return {key: value for key, value in facts.items() if value is not None}


def _after(seconds: float) -> timedelta:
    """Return a span of time; clocks of two machines may differ by less than nothing."""
    return timedelta(seconds=max(0.0, seconds))


def _number(text: str, size: int) -> int:
    """Return a number of so many bytes that is not 0, which would be no identifier."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=size).digest()) or 1
