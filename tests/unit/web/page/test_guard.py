"""Requests that the page refuses, and the headers that keep everything else out."""

from __future__ import annotations

import pytest

from coordinator.web.page.guard import host_allowed, token_matches, wants_text, why_not_ours

OURS = {"host": "127.0.0.1:8009", "content-type": "application/json"}


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8009", "localhost:8009", "localhost", "[::1]:8009", "10.0.0.7", "db-1", "DB-1.:80"],
)
def test_an_address_and_an_own_name_are_allowed(host):
    assert host_allowed(host, {"db-1"})


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8009", "", "127.0.0.1.evil.example", "localhost.evil"]
)
def test_a_foreign_name_that_leads_here_is_refused(host):
    assert not host_allowed(host, {"db-1"})


def test_a_request_of_our_page_or_of_a_program_is_ours():
    assert why_not_ours(OURS) == ""
    browser = {"origin": "http://127.0.0.1:8009", "sec-fetch-site": "same-origin"}
    assert why_not_ours(OURS | browser) == ""


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"sec-fetch-site": "cross-site"}, "another site"),
        ({"sec-fetch-site": "same-site"}, "another site"),
        ({"origin": "http://evil.example"}, "another origin"),
        ({"origin": "null"}, "another origin"),
        ({"origin": "http://127.0.0.1:80"}, "another origin"),
        ({"content-type": "text/plain"}, "application/json"),
        ({"content-type": "application/x-www-form-urlencoded"}, "application/json"),
    ],
)
def test_a_change_that_another_page_sends_is_refused(changed, why):
    assert why in why_not_ours(OURS | changed)


@pytest.mark.parametrize(
    ("header", "matches"),
    [
        ("Bearer 0123456789abcdef", True),
        ("Bearer 0123456789abcdeF", False),
        ("Bearer 0123456789abcde", False),
        ("Basic 0123456789abcdef", False),
        ("Bearer ", False),
        ("Bearer \xff", False),
    ],
)
def test_the_token_is_compared_whole(header, matches):
    assert token_matches({"authorization": header}, "0123456789abcdef") is matches


def test_without_a_header_there_is_no_token():
    assert not token_matches({}, "0123456789abcdef")


@pytest.mark.parametrize(
    ("accept", "text"),
    [
        ("text/plain", True),
        ("text/plain;q=0.9, application/json", True),
        ("*/*", False),
        ("text/html,text/plain", False),
        ("", False),
    ],
)
def test_text_is_for_who_wants_no_html(accept, text):
    assert wants_text(accept) is text
