"""Drawing: many nodes, hostile names, assistive technology, and nothing from elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.conftest import PHONE, WINDOW, Browser
from tests.browser.rows import HOSTILE, fill
from tests.conftest import Database
from tests.support.bounds import within
from tests.support.servers.page import served

pytestmark = pytest.mark.real

#: Milliseconds that the script took for the first drawing of all groups.
SCRIPT_MS = """
() => performance.getEntriesByType('measure').filter((each) => each.name === 'coord-overview')
  .reduce((longest, each) => Math.max(longest, each.duration), 0)
"""


def test_a_thousand_nodes_are_drawn_soon(
    database: Database, browser: Browser, tmp_path: Path, record_property: pytest.FixtureRequest
) -> None:
    fill(database, groups=50, nodes=20)

    with served(database.conninfo, database.schema, tmp_path) as page:
        look = browser.look(page.url)
        look.wait("() => document.querySelectorAll('#groups .dot').length === 1000")
        took_ms = look.tab.evaluate(SCRIPT_MS)

        assert len(look.tab.locator("#nodes tbody tr").all()) == 20
        assert look.text("#summary") == "50 groups"
        record_property("table", f"page: 50 groups of 20 nodes drawn in {took_ms:.0f} ms of script")
        within(took_ms / 1000, 0.2, "for 50 groups of 20 nodes")
        look.tab.locator("#groups a", has_text="group-07").click()
        look.wait("() => document.getElementById('name').textContent === 'group-07'")
        assert look.told == []


def test_everybody_can_use_it_and_names_are_text(
    database: Database, browser: Browser, tmp_path: Path
) -> None:
    fill(database, groups=2, nodes=3, hostile=True)

    with served(database.conninfo, database.schema, tmp_path) as page:
        for scheme, size in (("light", WINDOW), ("dark", WINDOW), ("light", PHONE)):
            look = browser.look(page.url, scheme=scheme, size=size)
            look.tab.locator("summary").first.click()
            look.tab.locator("#terms").focus()
            look.tab.keyboard.press("ArrowRight")

            assert look.violations() == [], (scheme, size)
            for place in ("#nodes", "#sentence", "#term", "#sentences"):
                assert HOSTILE in look.text(place)
            assert look.tab.locator("main img").count() == 0
            assert "owned" not in look.tab.title().partition("<")[0]
            assert look.tab.evaluate("document.documentElement.scrollWidth") <= size[0]
            assert [each for each in look.requests if not each.startswith(page.url)] == []
            assert look.told == []
            look.tab.close()


def test_a_hidden_tab_asks_for_nothing(
    database: Database, browser: Browser, tmp_path: Path
) -> None:
    fill(database, groups=1, nodes=2)
    hide = """(hidden) => {
      Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden });
      document.dispatchEvent(new Event('visibilitychange'));
    }"""

    def streams(event: object) -> bool:
        return "/api/v1/events" in getattr(event, "url", "")

    with served(database.conninfo, database.schema, tmp_path) as page:
        look = browser.look(page.url)
        with look.tab.expect_event("requestfailed", predicate=streams):
            look.tab.evaluate(hide, True)
        asked = len(look.requests)
        with look.tab.expect_event("request", predicate=streams):
            look.tab.evaluate(hide, False)

        assert len(look.requests) == asked + 1


def test_a_change_is_confirmed_by_name_and_needs_the_token(
    database: Database, browser: Browser, tmp_path: Path
) -> None:
    fill(database, groups=1, nodes=2)
    secret = tmp_path / "token"
    secret.write_text("s3cret-of-the-admin")
    secret.chmod(0o600)
    given = ("--admin-token-file", str(secret))

    with served(database.conninfo, database.schema, tmp_path, *given) as page:
        look = browser.look(page.url)
        look.tab.get_by_role("button", name="Pause takeovers…").click()
        asked = look.text("#dialog-text")
        assert "If node-00 ends or dies, nobody takes over" in asked
        assert look.violations() == []
        look.tab.locator("#token").fill("a-wrong-token-of-some-length")
        look.tab.locator("#confirm").click()
        look.wait("() => document.getElementById('refused').textContent.includes('secret')")
        assert database.query("SELECT kind FROM planned_change") == []

        look.tab.locator("#reason").fill("kernel update")
        look.tab.locator("#token").fill("s3cret-of-the-admin")
        look.tab.locator("#confirm").click()
        look.wait("() => document.getElementById('planned').textContent.includes('kernel update')")
        look.tab.get_by_role("button", name="Resume…").click()
        look.tab.locator("#confirm").click()
        look.wait("() => document.getElementById('planned').textContent === ''")

    assert database.query("SELECT kind, reason, outcome FROM planned_change") == [
        ("pause takeovers", "kernel update", "done")
    ]
