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
from coordinator.protocol.rules.once_per_slot import SPREAD_S, SlotSeen, decide, fired, spread_s
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


def group_of(slot: str, argv: tuple[str, ...]) -> str:
    """Return the name of a job that was given none: the same line has the same everywhere."""
    text = "\0".join((slot, *argv))
    return f"once-{hashlib.blake2b(text.encode(), digest_size=6).hexdigest()}"


def run_once(settings: NodeSettings, wanted: Wanted, note: Callable[[str], None]) -> int:
    """Run the command if the slot is this machine's; else return an exit code.

    note: gets a sentence for a person who asks for details.
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
            chosen = _chosen(connection, wanted, note)
            code = _look(connection, holding, chosen, wanted, note, clock, settings)
            patience_s = _left_s(chosen, store.now(connection)) if code is None else 0.0
    except psycopg.Error as error:
        raise database_error(error, database.label) from error
    if code is not None:
        return code
    retry_s = wanted.retry_after_s
    return run_node(
        replace(
            settings,
            once=OnceSettings(slot=chosen.slot, retry_s=retry_s),
            nonblock=retry_s is None,
            wait_s=None if retry_s is None else max(0.1, patience_s),
        )
    )


def _chosen(connection: Connection, wanted: Wanted, note: Callable[[str], None]) -> Chosen:
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
        note(f"the slot is {chosen.wait_s:.1f} s away by the database's clock: waiting for it")
        threading.Event().wait(chosen.wait_s)
    return chosen


def _look(
    connection: Connection,
    holding: Holding,
    chosen: Chosen,
    wanted: Wanted,
    note: Callable[[str], None],
    clock: Clock,
    settings: NodeSettings,
) -> int | None:
    """Look until it is clear what to do; None: take the token and run the slot."""
    begun_at, pause, term = clock.now(), threading.Event(), 0
    slot, held_back = chosen.slot.isoformat(), False
    while True:
        looked = store.look(connection, holding)
        if looked.token_term != term:
            # Another holder: it gets the whole time to claim.
            begun_at, term = clock.now(), looked.token_term
        waited_s = clock.now() - begun_at
        match decide(_seen(looked, chosen), wanted.retry_after_s, waited_s):
            case "run" if not held_back:
                left_s = _left_s(chosen, looked.now)
                pause.wait(spread_s(settings.task_id, slot, left_s, wanted.spread_s))
                held_back = True
            case "run":
                return None
            case "wait":
                pause.wait(LOOK_S)
            case "done":
                note(f"slot {slot}: started before (by {looked.holder or 'another machine'})")
                return settings.conflict_exit_code
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
    )


def _left_s(chosen: Chosen, now: datetime) -> float:
    """Return the seconds until the slot is an old one."""
    return float("inf") if chosen.next_at is None else (chosen.next_at - now).total_seconds()
