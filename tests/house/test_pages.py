"""The pages of docs/ and the README: files and folders that they name are there."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    page
    for pages in ("*.md", "docs/**/*.md", "*/README.md", "recipes/*/README.md")
    for page in sorted(ROOT.glob(pages))
]
#: Pages shorten `coordinator/protocol/...` to `protocol/...`.
STARTS = (ROOT, ROOT / "coordinator")
FOLDERS = ("coordinator", "cli", "tests", "bench", "migrations", "examples", "recipes")
#: A file with its folders, in text as well as in code.
FILE = re.compile(r"(?<![\w/])((?:[\w.-]+/)+[\w-]+\.py)\b")
#: A file by its name alone, whose folder the sentence names.
NAME = re.compile(r"`(\w+\.py)`")
#: A link to another file, without the part behind "#".
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
#: A folder of the product: `protocol/node`, `runtime/isolation/`.
FOLDER = re.compile(r"`((?:coordinator/)?(?:protocol|store|runtime|app|web)(?:/\w+)+)/?`")


@functools.cache
def names_of_files() -> frozenset[str]:
    return frozenset(
        path.name for folder in FOLDERS for path in ROOT.glob(f"{folder}/**/*.py")
    ) | frozenset(path.name for path in ROOT.glob("*.py"))


def absent(text: str) -> list[str]:
    """Return the files and folders that a text names and the tree lacks."""
    paths = [*FILE.findall(text), *FOLDER.findall(text)]
    there = [any((start / path).exists() for start in STARTS) for path in paths]
    return [path for path, found in zip(paths, there, strict=True) if not found] + [
        name for name in NAME.findall(text) if name not in names_of_files()
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_that_a_page_names_is_there(page):
    assert absent(page.read_text()) == []


@pytest.mark.parametrize(
    "text",
    [
        "the race (protocol/node/race.py) decides",
        "`tests/unit/test_nothing.py` shows it",
        "see `nothing_of_this_name.py`",
        "`protocol/nowhere/` decides",
        "`coordinator/store/nowhere` asks",
    ],
)
def test_a_file_that_is_not_there_is_found(text):
    assert len(absent(text)) == 1


#: Written by `make config`, `make bench` and `make faults`.
GENERATED = {
    *(f"docs/{page}.md" for page in ("settings", "commands", "exit-codes", "sql", "python")),
    "docs/benchmarks.md",
}
MEASURED = re.compile(r"<!-- campaign: begin -->.*?<!-- campaign: end -->", flags=re.DOTALL)
CODE = re.compile(r"^ *```.*?^ *```$", flags=re.DOTALL | re.MULTILINE)
WIDTH_MAX = 100


def overlong(text: str) -> list[str]:
    """Return the lines of text that are too wide; tables, code and single words may be."""
    lines = CODE.sub("", MEASURED.sub("", text)).splitlines()
    return [
        line
        for line in lines
        if len(line) > WIDTH_MAX and not line.startswith("|") and " " in line.strip()
    ]


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if str(page.relative_to(ROOT)) not in GENERATED],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_the_text_of_a_page_is_wrapped(page):
    assert overlong(page.read_text()) == []


def test_an_overlong_line_is_found():
    wide = "word " * 30

    assert overlong(f"```\n{wide}\n```\n| {wide} |\n{wide}\n") == [wide]


ADRS = sorted((ROOT / "docs/adr").glob("0*.md"))


def test_no_number_of_a_decision_is_given_twice():
    numbers = [path.name[:4] for path in ADRS]

    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("path", ADRS, ids=lambda path: path.stem)
def test_a_decision_has_its_number_a_status_and_a_date(path):
    title, _, status, *_ = path.read_text().splitlines()

    assert title.startswith(f"# {int(path.name[:4])}. ")
    assert re.match(r"Status: .*\b\d{4}-\d\d-\d\d", status)


def test_the_index_of_decisions_links_each_of_them_once():
    index = (ROOT / "docs/adr/README.md").read_text()

    assert [link for link in LINK.findall(index) if link.startswith("0")] == [
        path.name for path in ADRS
    ]


#: `ADR 8`, also where it is a link or where the line breaks.
CITED = re.compile(r"\bADRs?\s+(\d+)\b")


def test_every_decision_that_is_cited_is_there():
    numbers = {int(path.name[:4]) for path in ADRS}
    files = [*PAGES, *(path for folder in FOLDERS for path in ROOT.glob(f"{folder}/**/*.py"))]
    cited = {
        (str(path.relative_to(ROOT)), int(number))
        for path in files
        for number in CITED.findall(path.read_text())
    }

    assert {each for each in cited if each[1] not in numbers} == set()
