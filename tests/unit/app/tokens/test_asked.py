"""Requests to the token service: what they ask for, and which are refused."""

from __future__ import annotations

import pytest

from coordinator.app.tokens.asked import Hold, Look, Renew, Return, understand
from coordinator.web.http1 import Refusal, Request, parse


def asked(method: str, target: str, *, by_tcp: bool = False, **headers: str) -> object:
    lines = [f"{method} {target} HTTP/1.1", *(f"{key}: {text}" for key, text in headers.items())]
    found = parse("\r\n".join(lines).encode() + b"\r\n\r\n")
    assert found is not None
    assert isinstance(found[0], Request)
    return understand(found[0], by_tcp=by_tcp)


@pytest.mark.parametrize(
    ("method", "target", "meaning"),
    [
        ("POST", "/v1/tokens/x", Hold(name="x")),
        ("POST", "/v1/tokens/x?timeout=0", Hold(name="x", timeout_s=0.0)),
        ("POST", "/v1/tokens/x?timeout=5&ttl=2.5", Hold(name="x", timeout_s=5.0, ttl_s=2.5)),
        ("POST", "/v1/tokens/x?ttl=1m", Hold(name="x", ttl_s=60.0)),
        ("POST", "/v1/tokens/x?lease=a-b&ttl=3", Renew(name="x", lease="a-b", ttl_s=3.0)),
        ("GET", "/v1/tokens/night%2Dly", Look(name="night-ly")),
        ("DELETE", "/v1/tokens/x?lease=a-b", Return(name="x", lease="a-b")),
    ],
)
def test_what_a_request_asks_for(method, target, meaning):
    assert asked(method, target) == meaning


@pytest.mark.parametrize(
    ("method", "target", "status", "words"),
    [
        ("GET", "/", 404, "/v1/tokens/NAME"),
        ("GET", "/v1/tokens/_observer", 400, "reserved"),
        ("GET", "/v1/tokens/" + "x" * 128, 400, "127"),
        ("GET", "/v1/tokens/", 404, "/v1/tokens/NAME"),
        ("PUT", "/v1/tokens/x", 405, "POST, GET, DELETE"),
        ("POST", "/v1/tokens/a%2Fb", 400, "name"),
        ("POST", "/v1/tokens/x?timeout=soon", 400, "timeout"),
        ("POST", "/v1/tokens/x?timeout=-1", 400, "timeout"),
        ("POST", "/v1/tokens/x?ttl=0", 400, "ttl"),
        ("POST", "/v1/tokens/x?ttl=1e9", 400, "ttl"),
        ("POST", "/v1/tokens/x?lease=a", 400, "ttl is missing"),
        ("POST", "/v1/tokens/x?wait=1", 400, "wait: unknown"),
        ("DELETE", "/v1/tokens/x", 400, "lease is missing"),
        ("GET", "/v1/tokens/x?lease=a", 400, "lease: unknown"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_words(method, target, status, words):
    refused = asked(method, target)

    assert isinstance(refused, Refusal)
    assert refused.status == status
    assert words in refused.error


def test_a_body_is_refused_for_nothing_would_read_it():
    refused = asked("POST", "/v1/tokens/x", **{"Content-Length": "2"})

    assert isinstance(refused, Refusal)
    assert refused.status == 413


@pytest.mark.parametrize("host", ["evil.example", "10.0.0.1:80", "[::2]:1", "[", "localhost.x"])
def test_a_page_in_a_browser_gets_nothing(host):
    """A name that leads to the loopback interface is the page's own choice; the host is not."""
    for refused in (
        asked("POST", "/v1/tokens/x", by_tcp=True, Host=host),
        asked("POST", "/v1/tokens/x", Origin="http://localhost"),
    ):
        assert isinstance(refused, Refusal)
        assert refused.status == 403


@pytest.mark.parametrize("host", ["127.0.0.1:8009", "localhost", "[::1]:8009", "LOCALHOST:1"])
def test_the_loopback_interface_has_these_names(host):
    assert asked("GET", "/v1/tokens/x", by_tcp=True, Host=host) == Look(name="x")
