"""The house itself: floors, sizes, rules that tests cite, words that must not occur."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.as_installed import lint_imports

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*ROOT.glob("coordinator/**/*.py"), *ROOT.glob("cli/*.py")])
TESTS = sorted(ROOT.glob("tests/**/*.py"))
#: A file with one reason to change; a longer one is a reason to look.
LINES_MAX = 320
#: One screen.
FUNCTION_LINES_MAX = 60


def test_imports_go_down_or_stay_in_the_room():
    answer = lint_imports()

    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_stays_a_room(path):
    lines = path.read_text().count("\n")

    assert lines <= LINES_MAX


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_function_fits_a_screen(path):
    functions = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]

    # From its first statement on: a command's options are its signature, and may be many.
    lengths = {
        function.name: function.end_lineno - function.body[0].lineno + 1 for function in functions
    }
    long = {name: lines for name, lines in lengths.items() if lines > FUNCTION_LINES_MAX}

    assert not long


def rules() -> list[str]:
    text = (ROOT / "docs/protocol.md").read_text()
    return re.findall(r"^- \*\*([A-Z]\d+)\*\*", text, flags=re.MULTILINE)


@pytest.mark.parametrize("rule", rules())
def test_every_rule_of_the_protocol_is_cited_by_a_test(rule):
    cited = [path for path in TESTS if re.search(rf"\b{rule}\b", path.read_text())]

    assert [path for path in cited if path != Path(__file__)]


def test_unit_tests_use_no_mocks_and_no_sleeps():
    bad = [
        str(path.relative_to(ROOT))
        for path in TESTS
        if path.is_relative_to(ROOT / "tests/unit")
        and re.search(r"unittest\.mock|\bMagicMock\b|time\.sleep\(", path.read_text())
    ]

    assert bad == []


def test_the_guardian_loads_the_standard_library_only():
    """The guardian is a process of its own on every node: what it loads, every node pays."""
    script = (
        "import sys, coordinator.runtime.guardian;"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )

    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.split()

    foreign = {
        name
        for name in loaded
        if name not in sys.stdlib_module_names
        and not name.startswith(("_", "__editable__"))
        and name not in ("coordinator", "site", "sitecustomize", "usercustomize")
    }
    assert foreign == set()


def test_no_sql_is_pasted_together():
    """SQL is a constant; only identifiers are composed, by psycopg or SQLAlchemy."""
    pasted = re.compile(r"""f["'](?:SELECT|INSERT|UPDATE|DELETE)\b""")

    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in SOURCES
        for line in path.read_text().splitlines()
        if pasted.search(line) and "# noqa: S608" not in line
    ]

    assert found == []
