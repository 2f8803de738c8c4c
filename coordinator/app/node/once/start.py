"""A machine's part in a slot: look, wait, and become the node that runs it, or leave (M6 to M8)."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

import psycopg

from coordinator.app.config.database_choice import resolve
from coordinator.app.config.settings import NodeSettings, OnceSettings
from coordinator.app.node.once.slot import Chosen, choose
from coordinator.app.node.start import run_node
from coordinator.errors import ConfigError, TokenHeldError
from coordinator.ports import Clock
from coordinator.protocol.messages.schedule_claims import RECORD_AHEAD_MAX_S, SLOT_AHEAD_MAX_S
from coordinator.protocol.rules.once_per_slot import (
    SPREAD_S,
    SlotSeen,
    decide,
    fired,
    reserved_for_s,
    retry_left_s,
    spread_s,
)
from coordinator.runtime.linux.clock import BoottimeClock
from coordinator.runtime.schedule.calendar.slots import Slots
from coordinator.store.driver.errors import database_error
from coordinator.store.program import once as store
from coordinator.store.program.schedule import Connection, Holding, open_connection

#: Seconds between two looks while another machine runs the slot.
LOOK_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Options of one `coord once`."""

    slots: Slots
    early_s: float
    late_s: float | None
    retry_after_s: float | None
    spread_s: float = SPREAD_S


@dataclass(frozen=True, slots=True)
class Tell:
    """Receivers of sentences: for a person who asks for details, and for everybody."""

    note: Callable[[str], None]
    alert: Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mine:
    """A slot that this machine is to run.

    reserved:   no other machine begins a node for it meanwhile, so that this one waits for the end
                of an earlier slot's run. Without a schema nothing can be reserved yet.
    patience_s: seconds until the slot is an old one.
    retry_s:    as in OnceSettings.
    """

    reserved: bool
    patience_s: float
    retry_s: float | None


def group_of(slot: str, argv: tuple[str, ...]) -> str:
    """Return the name of a job that was given none: the same line has the same everywhere."""
    text = "\0".join((slot, *argv))
    return f"once-{hashlib.blake2b(text.encode(), digest_size=6).hexdigest()}"


def run_once(settings: NodeSettings, wanted: Wanted, tell: Tell) -> int:
    """Run the command if the slot is this machine's; else return an exit code.

    Errors: CoordError; TokenHeldError when the slot is run by nobody, with the reason.
    """
    resolved = resolve(settings.database)
    database = replace(
        settings.database,
        conninfo=resolved.conninfo,
        label=resolved.label or settings.database.label,
        named=True,
    )
    settings, clock = replace(settings, database=database), BoottimeClock()
    holding = Holding(
        schema=database.schema,
        group=settings.group_id,
        term=0,
        session="",
        name=store.NAME,
        node=settings.task_id,
    )
    try:
        with open_connection(database.conninfo, database.connect_timeout_s) as connection:
            chosen = _chosen(connection, wanted, tell)
            mine = _look(connection, holding, chosen, wanted, tell, clock, settings)
    except psycopg.Error as error:
        raise database_error(error, database.label) from error
    if mine is None:
        return settings.conflict_exit_code
    return run_node(
        replace(
            settings,
            once=OnceSettings(slot=chosen.slot, retry_s=mine.retry_s),
            nonblock=not mine.reserved,
            wait_s=max(0.1, mine.patience_s) if mine.reserved else None,
        )
    )


def _chosen(connection: Connection, wanted: Wanted, tell: Tell) -> Chosen:
    """Choose the slot, and wait for it if this machine comes early."""
    now = store.now(connection)
    chosen = choose(wanted.slots, now, early_s=wanted.early_s, late_s=wanted.late_s)
    if chosen.which == "none":
        age_s = (now - chosen.slot).total_seconds()
        raise TokenHeldError(
            f"the last slot ({chosen.slot.isoformat()}) is {age_s:.0f} s old by the database's"
            " clock, and is not run any more (--late SECS allows more)"
        )
    if chosen.wait_s > 0:
        tell.note(f"the slot is {chosen.wait_s:.1f} s away by the database's clock: waiting for it")
        threading.Event().wait(chosen.wait_s)
    return chosen


def _look(
    connection: Connection,
    holding: Holding,
    chosen: Chosen,
    wanted: Wanted,
    tell: Tell,
    clock: Clock,
    settings: NodeSettings,
) -> Mine | None:
    """Look until it is clear what to do; None: nothing, the slot is in good hands."""
    begun_at, pause, term = clock.now(), threading.Event(), 0
    slot, held_back, told = chosen.slot.isoformat(), False, False
    while True:
        looked = store.look(connection, holding)
        told = told or _tell_ahead(looked, tell)
        if looked.token_term != term:
            # Another holder: it gets the whole time to claim.
            begun_at, term = clock.now(), looked.token_term
        waited_s, left_s = clock.now() - begun_at, _left_s(chosen, looked.now)
        seen = _seen(looked, chosen)
        match decide(seen, wanted.retry_after_s, waited_s):
            case "run" if not held_back:
                pause.wait(spread_s(settings.task_id, slot, left_s, wanted.spread_s))
                held_back = True
            case "run":
                retry_s = retry_left_s(seen, wanted.retry_after_s)
                mine = Mine(reserved=looked.has_schema, patience_s=left_s, retry_s=retry_s)
                for_s = reserved_for_s(left_s)
                if not mine.reserved or store.reserve(
                    connection, holding, slot=chosen.slot, for_s=for_s
                ):
                    return mine
            case "wait":
                pause.wait(LOOK_S)
            case "done":
                tell.note(f"slot {slot}: started before (by {looked.holder or 'another machine'})")
                return None
            case "missed":
                raise TokenHeldError(
                    f"slot {slot} is missed: {looked.holder} ran an earlier one all the while"
                )
            case "paused":
                raise TokenHeldError(
                    f"slot {slot} is not run here: the group {settings.group_id} is paused, or"
                    f" {settings.task_id} is drained (`coord status` says which)"
                )
            case "foreign":
                raise ConfigError(
                    f"the token of group {settings.group_id} is held by {looked.holder} (term"
                    f" {looked.token_term}), which is no `coord once`: give this job a group of its"
                    " own (-g NAME)"
                )


def _tell_ahead(looked: store.Looked, tell: Tell) -> bool:
    """Alert that the record lies ahead of the database's clock; return True if it does (C4)."""
    last = looked.fired_at
    ahead_s = 0.0 if last is None else (last - looked.now).total_seconds()
    if last is None or ahead_s <= SLOT_AHEAD_MAX_S:
        return False
    what = "is waited out" if ahead_s <= RECORD_AHEAD_MAX_S else "is begun anew"
    tell.alert(
        f"the last slot that was run ({last.isoformat()}) lies {ahead_s:.1f} s ahead of the"
        f" database's clock: the record {what}; was that clock set back?"
    )
    return True


def _seen(looked: store.Looked, chosen: Chosen) -> SlotSeen:
    last = looked.fired_at
    return SlotSeen(
        fired=(
            "never"
            if last is None
            else fired((chosen.slot - last).total_seconds(), (last - looked.now).total_seconds())
        ),
        running=looked.unfinished,
        record_term=looked.record_term,
        token_term=looked.token_term,
        lives=looked.lives,
        dead_for_s=looked.dead_for_s,
        next_in_s=_left_s(chosen, looked.now),
        paused=looked.paused,
        reserved=(
            looked.reserved
            and looked.reserved_slot is not None
            and looked.reserved_slot >= chosen.slot
        ),
        expected=looked.holder != "" and looked.holder == looked.reserved_by,
    )


def _left_s(chosen: Chosen, now: datetime) -> float:
    """Return the seconds until the slot is an old one."""
    return float("inf") if chosen.next_at is None else (chosen.next_at - now).total_seconds()
