"""Signature of a request: HMAC over what it asks, with the key that only the group's role reads.

The moment until which it counts is by the database's clock, which both ends ask: no node's wall
clock takes part. A request that is sent again within that time does the same again, and nothing
else: segments never change.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from coordinator.segments.faults import DiskError

HEADER = "Coord-Signature"
#: Time for which a signature counts; a request begins at once, so that is for slow clocks' rates.
SIGNED_FOR_S = 60
MAC_BYTES = 32


class TransferError(DiskError):
    """A node did not give or take a segment: the device counts as offline for this caller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Facts of a request that are signed.

    expires_at: whole seconds since 1970, by the database's clock.
    """

    method: str
    path: str
    term: int
    expires_at: int


def signature(key: bytes, request: Request) -> str:
    """Return the value of the header."""
    return f"{request.term}.{request.expires_at}.{_mac(key, request, b'').hex()}"


def checked(key: bytes, method: str, path: str, given: str, now_s: float) -> Request:
    """Return the request that a header signs.

    Errors: TransferError for any other header, or one that counts no more, or too long.
    """
    parts = given.split(".")
    if len(parts) != 3 or not (parts[0].isdecimal() and parts[1].isdecimal()):
        raise TransferError("the request is not signed")
    request = Request(method=method, path=path, term=int(parts[0]), expires_at=int(parts[1]))
    if not hmac.compare_digest(_mac(key, request, b"").hex(), parts[2]):
        raise TransferError("the signature is not of this request, or not of this group")
    if not now_s <= request.expires_at <= now_s + 2 * SIGNED_FOR_S:
        raise TransferError("the signature has expired")
    return request


def body_mac(key: bytes, request: Request, digest: bytes) -> bytes:
    """Return what follows a body that was sent: it signs the digest with the request."""
    return _mac(key, request, digest)


def _mac(key: bytes, request: Request, digest: bytes) -> bytes:
    text = f"{request.method}\n{request.path}\n{request.term}\n{request.expires_at}\n"
    return hmac.digest(key, text.encode() + digest, hashlib.sha256)


def path_of(group: str, device: str, segment: str) -> str:
    """Return the path at which a node serves a segment; names of groups need no quotes."""
    return f"/segments/{group}/{device}/{segment}"
