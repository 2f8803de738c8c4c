"""Promises in seconds, which only a machine that has nothing else to do can show.

A test of `make test` decides by the order of events and by what programs and database recorded, so
that a loaded machine never breaks it. How long something took is judged with COORD_TEST_BOUNDS=1,
as `make faults` sets it, and measured by `make bench`.
"""

from __future__ import annotations

import os

JUDGED = os.environ.get("COORD_TEST_BOUNDS") == "1"


def within(took_s: float, bound_s: float, what: object = "") -> None:
    """Check, where times are judged, that something took no longer than it may."""
    assert not JUDGED or took_s <= bound_s, f"{took_s:.3f} s, not {bound_s:.3f} s {what}"
