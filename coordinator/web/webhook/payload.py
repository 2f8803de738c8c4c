"""Body and headers of one delivery; docs/webhook.md describes both for receivers.

Identity and signature have the form of https://www.standardwebhooks.com, for which there are
libraries in many languages.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from coordinator import __version__
from coordinator.store.driver.password_file import read_password

#: Version of the form, which is that of all documents.
API_VERSION = "coord/v1"
SECRET_PREFIX = "whsec_"  # noqa: S105 - the prefix of every such secret
#: A key of HMAC-SHA256 that is shorter could be guessed.
SECRET_BYTES_MIN = 16

Event = Mapping[str, Any]


class SecretFileError(Exception):
    """A file of a token or a secret that cannot be used; the text says which, and why."""


def body_of(group: str, event: Event) -> bytes:
    """Return the JSON of an event of a group."""
    head = {"apiVersion": API_VERSION, "kind": "Event", "groupId": group}
    return json.dumps({**head, **event}, separators=(",", ":")).encode()


def identity_of(group: str, event: Event) -> str:
    """Return the id of a delivery: the same each time that the event is sent again."""
    return f"{group}-{event['id']}"


def token_of(path: str) -> str:
    """Return the bearer token of a file.

    Errors: SecretFileError.
    """
    token = _line_of(path, "webhookTokenFile")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise SecretFileError(f"webhookTokenFile {path}: a token is one word of ASCII letters")
    return token


def key_of(path: str) -> bytes:
    """Return the key of signatures of a file.

    Errors: SecretFileError.
    """
    text = _line_of(path, "webhookSecretFile").removeprefix(SECRET_PREFIX)
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) < SECRET_BYTES_MIN:
        rule = f"must be {SECRET_PREFIX} and at least {SECRET_BYTES_MIN} bytes as base64"
        raise SecretFileError(f"webhookSecretFile {path}: {rule}")
    return key


def headers_of(
    identity: str, body: bytes, sent_at: int, *, token: str | None, key: bytes | None
) -> dict[str, str]:
    """Return the headers of a delivery.

    sent_at: seconds since 1970, by which a receiver refuses a delivery that was recorded.
    """
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"coord/{__version__}",
        "webhook-id": identity,
        "webhook-timestamp": str(sent_at),
    }
    if key is not None:
        signed = hmac.digest(key, f"{identity}.{sent_at}.".encode() + body, hashlib.sha256)
        headers["webhook-signature"] = "v1," + base64.b64encode(signed).decode()
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return headers


def _line_of(path: str, key: str) -> str:
    try:
        return read_password(path).strip()
    except ValueError as error:
        why = str(error).replace("one line, the password", "one line")
        raise SecretFileError(f"{key} {path}: {why}") from None
