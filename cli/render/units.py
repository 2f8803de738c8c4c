"""Ages and moments as people write them, and foreign text made safe for a terminal."""

from __future__ import annotations

from datetime import UTC, datetime

from coordinator.app.admin.explain import words
from coordinator.app.admin.explain.words import DAY_S, HOUR_S, MINUTE_S
from coordinator.cli.shared import TimeStyle

UNIT_S = {"ms": 0.001, "s": 1.0, "": 1.0, "m": MINUTE_S, "h": HOUR_S, "d": DAY_S}
#: Three centuries; PostgreSQL's own moments end some time after them.
TIME_MAX_S = 1e10
NOTHING = "-"


def age(seconds: float | None) -> str:
    """Write an age in one suitable unit: 0.3 s, 14m, 3h, 12d."""
    return NOTHING if seconds is None else words.age(seconds)


def gap(seconds: float | None) -> str:
    """Write how long no node was active; below 0, how long two were."""
    if seconds is None:
        return NOTHING
    return f"overlap {-seconds:.2f} s" if seconds < 0 else f"{seconds:.2f} s"


def iso(moment: datetime | None, *, digits: str = "seconds") -> str:
    """Write a moment as ISO-8601 in UTC, with as many digits as `timespec` names."""
    if moment is None:
        return NOTHING
    return moment.astimezone(UTC).isoformat(timespec=digits).replace("+00:00", "Z")


def when(moment: datetime | None, age_s: float | None, style: TimeStyle) -> str:
    """Write a moment in the requested style."""
    if moment is None:
        return NOTHING
    if style is TimeStyle.AGO:
        return f"{age(None if age_s is None else max(0.0, age_s))} ago"
    if style is TimeStyle.EPOCH:
        return f"{moment.timestamp():.3f}"
    return iso(moment)


def safe(text: object) -> str:
    """Replace characters that a terminal would obey, or that would break a line."""
    return "".join(each if each.isprintable() else "?" for each in str(text))


def seconds_of(text: str) -> float:
    """Return the seconds of "10", "10s", "24h" or "500ms".

    Errors: ValueError with examples of valid times.
    """
    number = text.strip().rstrip("msdh").rstrip()
    unit = text.strip()[len(number) :].strip()
    try:
        seconds = float(number) * UNIT_S[unit]
    except (ValueError, KeyError):
        seconds = -1.0
    if not 0 < seconds <= TIME_MAX_S:
        raise ValueError(f'{text!r} is not a time such as "10s", "24h" or "500ms"')
    return seconds
