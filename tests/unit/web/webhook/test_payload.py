"""Body, headers and URL of a delivery: what receivers rely on, and no secret for people."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from coordinator.web.webhook import payload, target

EVENT = {
    "id": 7,
    "at": "2026-12-01T10:00:00.000Z",
    "token": "orders",
    "event": "acquired",
    "taskId": "node-1",
    "term": 3,
    "reason": None,
    "by": "node-1",
}


def test_the_body_is_the_event_with_its_group() -> None:
    body = json.loads(payload.body_of("orders", EVENT))

    assert body == {"apiVersion": "coord/v1", "kind": "Event", "groupId": "orders", **EVENT}


def test_the_id_is_the_same_each_time_and_another_for_each_event() -> None:
    assert payload.identity_of("orders", EVENT) == "orders-7"
    assert payload.identity_of("orders", {**EVENT, "id": 8}) == "orders-8"


def test_the_signature_is_that_of_the_published_example() -> None:
    """Example of Standard Webhooks: https://docs.svix.com/receiving/verifying-payloads/how-manual"""
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")

    headers = payload.headers_of(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        b'{"test": 2432232314}',
        1614265330,
        token=None,
        key=key,
    )

    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert headers["webhook-timestamp"] == "1614265330"
    assert "Authorization" not in headers


def test_a_token_is_a_bearer_token() -> None:
    headers = payload.headers_of("a", b"", 1, token="abc", key=None)

    assert headers["Authorization"] == "Bearer abc"
    assert "webhook-signature" not in headers


def test_files_are_read_and_refused_without_what_is_in_them(tmp_path: Path) -> None:
    secret, token = tmp_path / "secret", tmp_path / "token"
    secret.write_text("whsec_" + base64.b64encode(b"0123456789abcdef").decode() + "\n")
    token.write_text("abc\n")

    assert payload.key_of(str(secret)) == b"0123456789abcdef"
    assert payload.token_of(str(token)) == "abc"

    for text in ("whsec_c2hvcnQ=", "whsec_no base64!"):
        secret.write_text(text)
        with pytest.raises(
            payload.SecretFileError, match=r"webhookSecretFile .*must be"
        ) as refused:
            payload.key_of(str(secret))
        assert text not in str(refused.value)
    for text in ("two words", "two\nlines"):
        token.write_text(text)
        with pytest.raises(payload.SecretFileError, match="webhookTokenFile") as refused:
            payload.token_of(str(token))
        assert text not in str(refused.value)
    with pytest.raises(payload.SecretFileError, match="cannot be read"):
        payload.token_of(str(tmp_path / "absent"))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hooks.example.org/services/T0/B0/secret", "https://hooks.example.org/********"),
        ("https://hooks.example.org/?key=secret", "https://hooks.example.org/********"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/"),
        ("https://[2001:db8::1]:8443/a", "https://[2001:db8::1]:8443/********"),
    ],
)
def test_people_see_neither_path_nor_query(url: str, shown: str) -> None:
    assert target.shown(url) == shown


@pytest.mark.parametrize(
    ("url", "private"),
    [
        ("https://a.example/", True),
        ("http://localhost:1/", True),
        ("http://127.9.9.9/", True),
        ("http://[::1]/", True),
        ("http://a.example/", False),
        ("http://10.0.0.7/", False),
    ],
)
def test_a_token_is_sent_over_tls_or_within_the_machine(url: str, private: bool) -> None:
    assert target.is_private(url) is private
