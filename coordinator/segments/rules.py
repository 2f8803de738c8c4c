"""Decisions about checkpoints: what counts, what may go, what a check changes (rules V).

Pure: the catalogue's rows and the time go in. The database decides the same in its own statements
where a decision and its commit must be one (V2, V3); tests hold both to the same cases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WRITING, COMMITTED, EXPIRED = "WRITING", "COMMITTED", "EXPIRED"


@dataclass(frozen=True, slots=True)
class Held:
    """Holding of a token: its term, and its session; None when nobody holds it."""

    term: int
    session: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Checkpoint that is committed."""

    checkpoint: int
    sequence: int
    age_s: float


def may_commit(state: str | None, made_under: Held, token: Held, *, session_live: bool) -> bool:
    """Decide whether an intent may become a checkpoint (V2).

    state: of the intent now; None when it was collected.
    """
    return state == WRITING and made_under == token and session_live


def is_orphan(state: str, made_under: Held, token: Held) -> bool:
    """Decide whether an intent can never be committed (V3): its holding is not the token's."""
    return state == WRITING and made_under != token


def may_delete(*, device: str, catalogued_on: str | None, due: bool) -> bool:
    """Decide whether a noted file may be deleted from a device (V5).

    catalogued_on: the device on which the catalogue has the segment; None when it has none.
    """
    return due and catalogued_on != device


def may_forget(
    *, device: str, catalogued_on: str | None, due_for_s: float, writer_max_s: float
) -> bool:
    """Decide whether the note of a file may go (V3).

    A writer that was deposed may finish its file after the note, and after a first deletion: the
    note stays until no such writer is left.
    """
    return catalogued_on == device or due_for_s > writer_max_s


def expired(kept: Sequence[Kept], keep_count: int, keep_s: float | None) -> tuple[int, ...]:
    """Return the checkpoints of one token that retention lets go; never the newest (V7)."""
    newest_first = sorted(kept, key=lambda each: each.sequence, reverse=True)
    return tuple(
        each.checkpoint
        for index, each in enumerate(newest_first)
        if index > 0 and (index >= keep_count or (keep_s is not None and each.age_s > keep_s))
    )


def state_after_check(state: str, verdict: str, *, whole: bool, fix: bool) -> str:
    """Return the state of a segment after a check (V4).

    A sample finds damage, but never makes a segment INTACT. A segment that is being written or
    rebuilt is its owner's.
    """
    if not fix or state in (WRITING, "REBUILDING") or state == verdict:
        return state
    if verdict == "INTACT":
        return "INTACT" if whole else state
    return verdict
