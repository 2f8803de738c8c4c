"""Readiness of a standby: written under its session, and told to the group."""

from __future__ import annotations

import uuid

from coordinator.protocol.messages.requests import ReadRoster, TellReady


def readiness(node) -> dict[str, bool]:
    return {each.node: each.ready for each in node.ask(ReadRoster()).roster}


def test_a_change_of_readiness_is_in_the_roster_and_in_a_new_version(node):
    """Y8"""
    first, second = node("a"), node("b")
    assert readiness(first) == {"a": False, "b": False}
    second.heard(0.1)
    version = first.look().group_version

    answer = first.ask(TellReady(session=first.session, ready=True))

    assert answer.done
    assert answer.view.group_version > version
    assert second.heard()
    assert readiness(second) == {"a": True, "b": False}
    assert first.ask(TellReady(session=first.session, ready=False)).done
    assert readiness(second) == {"a": False, "b": False}


def test_another_session_tells_nothing_and_a_new_one_begins_without(node):
    """Y8"""
    alone = node("a")
    assert not alone.ask(TellReady(session=str(uuid.uuid4()), ready=True)).done
    assert alone.ask(TellReady(session=alone.session, ready=True)).done

    assert alone.rejoin().done

    assert readiness(alone) == {"a": False}
