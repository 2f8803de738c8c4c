"""Stream of server-sent events for one browser.

Each event has a name and one line of JSON. A stream ends when the feed is closed, so that the
server can stop at once: uvicorn waits for every response.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator

from coordinator.web.page.feed import Feed, Frame

#: Seconds after which a browser is told the age of the last reading, if there is no newer one.
TICK_S = 1.0
#: A stream begins with a reading that is younger, or waits for the next one.
FRESH_S = 3.0
#: Milliseconds after which a browser connects again once the stream is broken.
RETRY_MS = 1000


async def events(feed: Feed, group: str | None) -> AsyncIterator[bytes]:
    """Yield the newest frame whenever there is one, and the age of the last one in between."""
    sent = 0
    with feed.looking(group) as follower:
        yield f"retry: {RETRY_MS}\n\n".encode()
        while not feed.closed:
            frame = feed.newest
            if frame.number != sent and shown(frame, sent):
                sent = frame.number
                yield b"".join(parts(frame, group))
            yield tick(frame)
            await follower.changed(TICK_S)


def shown(frame: Frame, sent: int) -> bool:
    """Return True if a stream sends a frame; none begins with a reading of long ago."""
    if not frame.read_at:
        return False
    return bool(sent or frame.trouble) or time.monotonic() - frame.read_at < FRESH_S


def parts(frame: Frame, group: str | None) -> list[bytes]:
    """Return the events of one frame; a group that is not there is null."""
    found = [event("overview", frame.overview)]
    if group is not None and group in frame.asked:
        found.append(event("group", frame.groups.get(group, b"null")))
    return found


def tick(frame: Frame) -> bytes:
    """Return the event that tells how old the last reading is; null: there is none yet."""
    age_s = round(time.monotonic() - frame.read_at, 3) if frame.read_at else None
    told = {"ageSeconds": age_s, "trouble": frame.trouble or None}
    return event("tick", json.dumps(told, ensure_ascii=False).encode())


def event(name: str, line: bytes) -> bytes:
    """Write one event; a line of JSON has no line feed."""
    return b"event: " + name.encode() + b"\ndata: " + line + b"\n\n"
