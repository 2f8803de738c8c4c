"""The links of all pages, and the index that gives each page its place in the navigation."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.house.links import ROOT, anchors, broken, links, pages
from tests.house.site import DOCS, INDEX, moved, navigation, needed, target, write


@pytest.mark.parametrize("page", pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(page):
    assert broken(page, page.read_text()) == []


@pytest.mark.parametrize(
    "link",
    ["absent.md", "operation.md#no-such-heading", "#no-such-heading", "../bench#readme"],
)
def test_a_broken_link_is_found(link):
    assert broken(DOCS / "index.md", f"# Here\n\nSee [there]({link}).\n") == [link]


def test_code_has_no_links_and_no_headings():
    text = "# Here\n```\n# not a heading\n[not](a-link)\n```\nand `[not](this)` either\n"

    assert links(text) == []
    assert anchors(text) == {"here"}


@pytest.mark.parametrize("heading", ["Start & stop", "Größe", "Twice\n\n## Twice"])
def test_an_anchor_that_only_one_of_both_readers_has_counts_as_broken(heading):
    made = anchors(f"## {heading}\n")

    assert not made & {"start--stop", "start-stop", "größe", "groe", "twice-1", "twice_1"}


def test_every_page_has_one_place_in_the_navigation():
    """docs/index.md is the navigation: add the line of a new page there, in its section."""
    listed = [
        target(INDEX, link) for _, entries in navigation(INDEX.read_text()) for _, link in entries
    ]
    expected = {*DOCS.glob("*.md"), DOCS / "adr/README.md"} - {INDEX}

    assert expected - set(listed) == set()
    assert len(listed) == len(set(listed))


def test_the_readme_leads_to_the_index():
    assert "docs/index.md" in links((ROOT / "README.md").read_text())


def test_the_site_has_every_page_and_what_it_leads_to(tmp_path):
    write(tmp_path / "site")
    made = tmp_path / "site/pages"

    written = sorted(made.rglob("*.md"))
    assert len(written) == len([path for path in needed() if path.suffix == ".md"])
    for page in written:
        wrong = [
            link
            for link in links(page.read_text())
            if not link.startswith("#") and not (page.parent / link.partition("#")[0]).is_file()
        ]
        assert wrong == [], page.relative_to(made)


def test_a_link_out_of_docs_is_moved_and_code_is_not():
    text = "[a](../README.md#five-minutes) [b](adr/README.md)\n```\n[c](../README.md)\n```\n"

    assert moved(INDEX, text) == text.replace("](../README.md#", "](repository/README.md#", 1)


def test_the_configuration_of_the_site_names_each_file_that_is_there(tmp_path):
    import tomllib

    write(tmp_path)
    project = tomllib.loads((tmp_path / "zensical.toml").read_text())["project"]

    def files(entries: list[object]) -> list[str]:
        found: list[str] = []
        for entry in entries:
            for value in dict(entry).values():  # type: ignore[call-overload]
                found += files(value) if isinstance(value, list) else [value]
        return found

    named = files(project["nav"])
    assert len(named) > 20
    assert [name for name in named if not Path(tmp_path, "pages", name).is_file()] == []
