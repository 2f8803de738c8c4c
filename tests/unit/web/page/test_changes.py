"""Changes that a request asks for, and the answers to errors."""

from __future__ import annotations

import json

import pytest

from coordinator.errors import (
    ConditionFalseError,
    ConfigError,
    DatabaseRefusedError,
    DatabaseUnreachableError,
    NotFoundError,
    UsageError,
)
from coordinator.web.page.changes import TEXT_MAX, Wanted, read_wanted, status_of


def test_a_change_has_its_node_and_reason():
    body = json.dumps({"node": "node-2", "reason": "kernel update"}).encode()

    assert read_wanted("orders", "drain", body) == Wanted(
        group="orders", verb="drain", node="node-2", reason="kernel update"
    )


def test_empty_texts_are_not_given():
    body = json.dumps({"node": "", "reason": None}).encode()

    assert read_wanted("orders", "switchover", body) == Wanted(group="orders", verb="switchover")
    assert read_wanted("orders", "resume", b"") == Wanted(group="orders", verb="resume")


@pytest.mark.parametrize(
    ("verb", "body", "why"),
    [
        ("delete", b"{}", "no verb"),
        ("drain", b"{}", "needs a node"),
        ("pause-work", b'{"node": "a"}', "takes no node"),
        ("resume", b"[]", "not an object"),
        ("resume", b'{"force": true}', "not an object"),
        ("resume", b"{", "not JSON"),
        ("resume", b"[" * 16000, "not JSON"),
        ("resume", b"\xff", "not JSON"),
        ("drain", b'{"node": 3}', "not a text"),
        ("drain", b'{"node": "a\\u0000b"}', "not a text"),
        ("drain", json.dumps({"node": "a" * (TEXT_MAX + 1)}).encode(), "not a text"),
    ],
)
def test_another_request_is_refused_with_the_reason(verb, body, why):
    with pytest.raises(UsageError, match=why):
        read_wanted("orders", verb, body)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UsageError("x"), 400),
        (DatabaseRefusedError("x"), 403),
        (NotFoundError("x"), 404),
        (ConditionFalseError("x"), 409),
        (DatabaseUnreachableError("x"), 503),
        (ConfigError("x"), 500),
    ],
)
def test_each_error_has_its_status(error, status):
    assert status_of(error) == status
