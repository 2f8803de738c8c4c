"""Judgement of a server and of a login, from what SQL says about them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from coordinator.app.admin.doctor.findings import Finding, bad, good, weak
from coordinator.protocol.rules.timing import RATE_ERROR
from coordinator.store.driver.connect import VERSION_MIN_SAID

#: A node has one connection, and a second one for moments; a program may have more.
CONNECTIONS_FEW, CONNECTIONS_NONE = 10, 2
#: Part of RATE_ERROR from which on a clock is told of: the rest is room for errors of the trial.
RATE_NOTED = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """A server and a session of this login; the settings are those of a session of its own.

    settings: as they are without coord, which sets its own in each session; "" unknown here.
    encrypted: TLS is in use. local: over a unix socket.
    """

    version: str
    in_recovery: bool
    fsync: str
    full_page_writes: str
    synchronous_commit: str
    standby_names: str
    connections_left: int
    connections_max: int
    idle_session_ms: int
    lent: bool
    encrypted: bool
    local: bool
    superuser: bool
    role: str


def judge_server(facts: ServerFacts, heartbeat_s: float) -> Iterator[Finding]:
    """Yield what is to be said about the server and the connection."""
    yield good("server", f"PostgreSQL {facts.version}; {VERSION_MIN_SAID} and later are supported")
    if facts.in_recovery:
        yield bad(
            "server",
            "the server that answers is a standby, and cannot be written to",
            "name the primary, or all hosts with target_session_attrs=primary",
            69,
        )
    for name, value in (("fsync", facts.fsync), ("full_page_writes", facts.full_page_writes)):
        if value == "off":
            text = f"{name} is off: a crash of the server may lose acknowledged commits"
            yield bad("settings", text, f"set {name} = on")
        else:
            yield good("settings", f"{name} is {value}")
    yield _durability(facts)
    yield _connections(facts)
    if 0 < facts.idle_session_ms < 1000 * heartbeat_s:
        text = f"idle_session_timeout ({facts.idle_session_ms} ms) is below heartbeatFrequency"
        yield weak("timeouts", text, "raise it for this role: coord sets 0 in sessions of its own")
    else:
        yield good("timeouts", "no limit of the server ends an idle connection between heartbeats")
    yield from _connection(facts)


def _durability(facts: ServerFacts) -> Finding:
    if facts.synchronous_commit in ("off", "local"):
        return weak(
            "settings",
            f"synchronous_commit is {facts.synchronous_commit} by default: coord's own"
            " transactions set it on, those of other programs may be lost",
            "set synchronous_commit = on for the roles of your programs",
        )
    if facts.standby_names:
        return good("settings", f"commits wait for a standby of {facts.standby_names!r}")
    return good("settings", f"synchronous_commit is {facts.synchronous_commit}")


def _connections(facts: ServerFacts) -> Finding:
    left = f"{facts.connections_left} of {facts.connections_max} connections are free"
    if facts.connections_left < CONNECTIONS_NONE:
        return bad("connections", left, "raise max_connections, or end idle sessions", 69)
    if facts.connections_left < CONNECTIONS_FEW:
        return weak("connections", left, "raise max_connections: each node needs one or two")
    return good("connections", left)


def _connection(facts: ServerFacts) -> Iterator[Finding]:
    if facts.lent:
        yield weak(
            "pooler",
            "a pooler lends its sessions: nothing of a session is relied on",
            "connect nodes to the server itself, for faster takeovers and fewer statements",
        )
    else:
        yield good("pooler", "no pooler lends the session")
    if facts.encrypted:
        yield good("tls", "the connection is encrypted")
    elif facts.local:
        yield good("tls", "the connection stays on this machine")
    else:
        yield weak("tls", "the connection is not encrypted", "set sslmode = verify-full")


def judge_clock(rate_error: float, tried_s: float) -> Finding:
    """Judge the rate of the server's clock against this machine's."""
    text = f"the server's clock runs {rate_error:+.2%} beside this one's (over {tried_s:.1f} s)"
    if abs(rate_error) > RATE_ERROR:
        remedy = "find out which clock is wrong: rates within 10 % are what the safety rests on"
        return bad("clock", text, remedy)
    if abs(rate_error) > RATE_NOTED * RATE_ERROR:
        return weak("clock", text, "look at chrony or NTP on both machines; try again")
    return good("clock", text)


def judge_news(*, heard: bool) -> Finding:
    """Judge a trial of LISTEN."""
    if heard:
        return good("listen", "a notification of another session was heard")
    return weak(
        "listen",
        "no notification was heard: changes are seen with the next heartbeat that reads all",
        "connect to the server itself, or through a pooler in session mode",
    )


def judge_rights(missing: list[str], schema: str, role: str) -> Finding:
    """Judge the rights of a login, by those of a node that it lacks."""
    if not missing:
        return good("rights", f"{role} has all rights of a node in schema {schema}")
    shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
    remedy = f"an owner runs the output of `coord db grants {role}`"
    return bad("rights", f"{role} lacks {shown}", remedy, 77)


def judge_admission(*, guarded: bool, admitted: bool, role: str, group: str) -> Finding | None:
    """Judge row level security: None where it is not switched on for this login."""
    if not guarded:
        return None
    if admitted:
        return good("rights", f"{role} is admitted to the group {group}")
    remedy = f"run the script of `coord db roles` for {role} and {group}"
    return bad("rights", f"{role} may not write for the group {group}", remedy, 77)
