"""The feed between the reader and the streams, and the events of a stream."""

from __future__ import annotations

import asyncio
import json
import threading
import time

from coordinator.web.page.feed import Feed, Frame
from coordinator.web.page.streams import events, parts, tick

LONG_S = 60.0


def frame(text: str, **groups: bytes) -> Frame:
    return Frame(overview=text.encode(), groups=groups, asked=tuple(groups))


def told(chunk: bytes) -> list[tuple[str, str]]:
    """Return the events of a chunk as (name, data)."""
    found = []
    for block in chunk.decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines())
        if "event" in lines:
            found.append((lines["event"], lines["data"]))
    return found


def test_nobody_is_counted_before_and_after_a_look():
    feed = Feed()

    async def look() -> tuple[bool, tuple[str, ...]]:
        with feed.looking("orders"), feed.looking("orders"):
            return feed.looked_at(), feed.watched()

    assert not feed.looked_at()
    assert asyncio.run(look()) == (True, ("orders",))
    assert not feed.looked_at()
    assert feed.watched() == ()
    assert feed.wanted.is_set()


def test_who_has_left_is_not_waited_for_again_and_again():
    feed = Feed()

    async def look() -> bool:
        with feed.looking(None):
            return feed.somebody_looks(LONG_S)

    assert asyncio.run(look())
    assert not feed.somebody_looks(0.0)
    assert not feed.wanted.is_set()


def test_an_old_trouble_is_no_answer_and_a_new_one_is():
    feed = Feed()
    feed.publish(frame("1"))
    feed.report("away")
    after_it = time.monotonic()

    async def ask(report: str) -> Frame | None:
        with feed.looking(None) as follower:
            if report:
                feed.report(report)
            return await follower.after(after_it, 0.0, None)

    assert asyncio.run(ask("")) is None
    answered = asyncio.run(ask("still away"))
    assert answered is not None
    assert (answered.trouble, answered.overview) == ("still away", b"1")


def test_a_stream_has_each_frame_once_and_skips_what_it_was_too_slow_for():
    feed = Feed()

    async def follow() -> list[tuple[str, str]]:
        feed.publish(frame("1"))
        stream = events(feed, None)
        await anext(stream)
        seen = told(await anext(stream))
        feed.publish(frame("2"))
        feed.publish(frame("3"))
        for _ in range(3):
            seen += told(await anext(stream))
        await stream.aclose()
        return seen

    overviews = [data for name, data in asyncio.run(follow()) if name == "overview"]
    assert overviews == ["1", "3"]


def test_a_frame_of_another_thread_wakes_a_stream():
    feed = Feed()

    async def follow() -> bytes:
        with feed.looking(None) as follower:
            threading.Thread(target=feed.publish, args=(frame("1"),), name="reader").start()
            await follower.changed(LONG_S)
        return feed.newest.overview

    assert asyncio.run(asyncio.wait_for(follow(), LONG_S / 2)) == b"1"


def test_the_end_of_the_feed_ends_streams():
    feed = Feed()

    async def follow() -> list[bytes]:
        stream = events(feed, None)
        chunks = [await anext(stream)]
        feed.close()
        return chunks + [each async for each in stream]

    assert len(asyncio.run(asyncio.wait_for(follow(), LONG_S))) == 1


def test_trouble_keeps_what_was_read_and_is_told_with_its_age():
    feed = Feed()
    feed.publish(frame("1"))
    read_at = feed.newest.read_at
    feed.report("db: no answer in 5 s")

    kept = feed.newest

    assert (kept.overview, kept.read_at, kept.number) == (b"1", read_at, 2)
    ((name, data),) = told(tick(kept))
    assert name == "tick"
    assert json.loads(data)["trouble"] == "db: no answer in 5 s"
    assert json.loads(data)["ageSeconds"] >= 0
    feed.publish(frame("2"))
    assert feed.newest.trouble == ""


def test_before_the_first_reading_there_is_no_age():
    assert told(tick(Frame())) == [("tick", '{"ageSeconds": null, "trouble": null}')]


def test_a_group_that_is_not_there_is_null_and_one_that_was_not_read_yet_is_absent():
    there = frame("1", orders=b"{}")
    gone = Frame(overview=b"1", asked=("orders",))

    assert told(b"".join(parts(there, "orders"))) == [("overview", "1"), ("group", "{}")]
    assert told(b"".join(parts(gone, "orders"))) == [("overview", "1"), ("group", "null")]
    assert told(b"".join(parts(there, "other"))) == [("overview", "1")]


def test_a_request_waits_for_a_reading_that_has_its_group():
    feed = Feed()

    async def ask() -> tuple[Frame | None, Frame | None]:
        feed.publish(frame("1"))
        before = feed.newest.read_at
        with feed.looking("orders") as follower:
            early = await follower.after(before, 0.0, "orders")
            feed.publish(frame("2", orders=b"{}"))
            return early, await follower.after(before, LONG_S, "orders")

    early, found = asyncio.run(ask())
    assert early is None
    assert found is not None
    assert found.groups == {"orders": b"{}"}
