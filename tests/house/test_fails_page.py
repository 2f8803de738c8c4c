"""The page of faults: what it quotes is in the log, and what it names is a row or a test."""

from __future__ import annotations

import ast
import functools
import re

import pytest

from tests.house.links import ROOT

PAGE = (ROOT / "docs/fails.md").read_text()
CAMPAIGN = (ROOT / "docs/faults.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|\n").split(" | ")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith("| what breaks")
]
FIELD = "\0"
#: Words in code that are names of settings, files, commands, columns or placeholders, not lines.
NAMES = re.compile(r"^(coord( .*)?|[A-Za-z_\[\]]+|[a-z_]+ = .*|docker run|systemd-run)$")


def campaign_rows() -> set[str]:
    return {line.split("|")[1].strip() for line in CAMPAIGN.splitlines() if line.startswith("| ")}


def shown(row: str) -> bool:
    """Say whether what shows a line is there: a row of the campaign, or a path of tests/."""
    return row in campaign_rows() or (row.startswith("tests/") and (ROOT / row).exists())


@functools.cache
def texts() -> str:
    """Return every text of the code, one a line, with a mark for each field."""
    found: list[str] = []
    for folder in ("coordinator", "cli"):
        for path in (ROOT / folder).glob("**/*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(re.sub(r"\{[^}]*\}", FIELD, node.value))
                elif isinstance(node, ast.JoinedStr):
                    parts = (getattr(part, "value", None) for part in node.values)
                    found.append("".join(p if isinstance(p, str) else FIELD for p in parts))
    return "\n".join(text.replace("\n", " ") for text in found)


def in_the_code(words: str) -> bool:
    """Say whether one text of the code has these words; N and numbers stand for its fields."""
    pattern = re.sub(r"\b(?:\d+|N|NODE)\b", FIELD, words)
    return re.search(re.escape(pattern).replace(re.escape(FIELD), "\0+"), texts()) is not None


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:60])
def test_a_line_of_the_page_is_whole_and_says_what_shows_it(row):
    assert len(row) == 4
    assert all(row)
    assert [name for name in row[3].split("; ") if not shown(name)] == []


def test_what_nothing_shows_is_found():
    assert not shown("a row that nobody has injected")
    assert not shown("tests/faults/test_of_nothing.py")


QUOTED = sorted(
    {words for row in ROWS for words in re.findall(r"`([^`]+)`", row[1]) if not NAMES.match(words)}
)


@pytest.mark.parametrize("words", QUOTED)
def test_a_line_of_the_log_is_quoted_as_the_code_has_it(words):
    assert in_the_code(words)


def test_a_line_that_no_code_writes_is_found():
    assert len(QUOTED) > 15
    assert not in_the_code("the program was struck by lightning")
    assert not in_the_code("the database answers never again")
