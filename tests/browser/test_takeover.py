"""Three real nodes in a browser: the active one is killed, and the page tells all of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator.app.config.settings import DEFAULT_SCHEMA
from coordinator.store.schema import migrate
from coordinator.testing.nodes.group import CoordGroup
from tests.browser.conftest import Browser, Look
from tests.conftest import Database
from tests.support.bounds import within
from tests.support.servers.page import served

pytestmark = pytest.mark.real

LIVENESS_S = 3.0
#: The picture has a resolution, and the page's clock is as old as its last reading.
PICTURE_S = 0.5
GROUP = "orders"

#: Seconds of the red blocks, as their width in the picture shows them.
RED = """
() => {
  const svg = document.querySelector('#terms svg');
  const second = svg.dataset.plot / svg.dataset.span;
  return [...svg.querySelectorAll('rect.gap')].map((each) => each.width.baseVal.value / second);
}
"""


@pytest.fixture
def nodes(unmigrated: Database, tmp_path: Path) -> Iterator[CoordGroup]:
    migrate.upgrade(unmigrated.conninfo, DEFAULT_SCHEMA)
    group = CoordGroup(unmigrated.conninfo, GROUP, tmp_path, liveness_check_interval=LIVENESS_S)
    try:
        group.start(3)
        group.wait_for(
            lambda: all(
                "standby" in group.log(each) or "ACTIVE" in group.log(each) for each in group.nodes
            ),
            "three nodes",
        )
        yield group
    finally:
        group.end()


def sentence_is(look: Look, words: str) -> None:
    look.wait("([words]) => document.getElementById('sentence').textContent.includes(words)", words)


def test_a_killed_node_its_gap_and_a_stream_that_breaks_and_comes_back(
    nodes: CoordGroup, browser: Browser, tmp_path: Path
) -> None:
    with served(nodes.database_url, DEFAULT_SCHEMA, tmp_path) as page:
        before = nodes.holder()
        look = browser.look(page.url)
        sentence_is(look, f"{before.node} is active, term {before.term},")
        assert look.text("#name") == GROUP
        assert look.tab.title().startswith("✓ orders: ")

        killed_at = time.monotonic()
        nodes.kill(before.node)
        look.wait("() => document.getElementById('level').textContent !== 'OK'")
        within(time.monotonic() - killed_at, LIVENESS_S + 1, "until the verdict has changed")
        after = nodes.holder(after=before.term)
        sentence_is(look, f"{after.node} is active, term {after.term},")

        (gap_s,) = [
            each["gapSeconds"]
            for each in page.document(f"/api/v1/groups/{GROUP}")["takeovers"]
            if each["term"] == after.term
        ]
        look.wait("() => document.querySelectorAll('#terms rect.gap').length > 0")
        drawn = look.tab.evaluate(RED)
        assert min(abs(each - gap_s) for each in drawn) <= PICTURE_S, (drawn, gap_s)
        row = look.text("#history tbody tr:first-child")
        assert f"{gap_s:.2f} s" in row
        assert before.node in row

        look.tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
        look.tab.locator("#copy").click()
        look.wait("() => document.getElementById('said').textContent.includes('clipboard')")
        copied = json.loads(look.tab.evaluate("navigator.clipboard.readText()"))
        assert [each["term"] for each in copied["takeovers"]][-2:] == [after.term, before.term]

        port = page.address[1]
        page.process.kill()
        look.wait("() => document.body.classList.contains('old')")
        assert "the server of this page does not answer" in look.text("#stale")
        assert look.text("#age").startswith("data ")
    again = ("--listen", f"127.0.0.1:{port}")
    with served(nodes.database_url, DEFAULT_SCHEMA, tmp_path, *again):
        look.wait("() => !document.body.classList.contains('old')")
        assert look.text("#age") == "live"
        assert look.tab.locator("#stale").is_hidden()

    refused = [each for each in look.told if "ERR_" not in each]
    assert refused == []


@pytest.mark.long
def test_with_every_node_dead_the_page_tells_for_how_long(
    nodes: CoordGroup, browser: Browser, tmp_path: Path
) -> None:
    with served(nodes.database_url, DEFAULT_SCHEMA, tmp_path) as page:
        nodes.holder()
        look = browser.look(page.url)
        for each in nodes.nodes:
            nodes.kill(each)

        sentence_is(look, "nobody has been active for ")
        sentence_is(look, "no live node may take over")

        assert look.text("#level") == "Critical"
        assert json.loads(page.asked("GET", "/api/v1/status")[2])["groups"][0]["state"] != "active"
        assert look.told == []
