"""The derived pages of reference: complete, and without anything of the machine that wrote them.

That the committed pages are the derived ones is shown by tests/unit/app/config/test_files.py.
"""

from __future__ import annotations

import inspect
import re
import runpy
from typing import Any

import pytest
import typer

import coordinator
from coordinator import errors
from tests.house.derived import commands, exit_codes, python, sql
from tests.house.links import ROOT

#: A row whose meaning is missing.
EMPTY = re.compile(r"^\| *`.*\| *\|(?: .*)?$", re.M)


@pytest.mark.parametrize(
    "page", [commands, exit_codes, sql, python], ids=lambda page: page.__name__
)
def test_every_row_says_what_it_is(page: Any) -> None:
    assert EMPTY.findall(page.page()) == []


def test_a_row_without_a_meaning_is_found() -> None:
    assert EMPTY.findall("| `a` | one |\n| `b` |  |\n| `c` |  | `x` |\n") != []


def test_every_command_has_a_section() -> None:
    from coordinator.cli.main import app

    names = [name for name, _ in commands.walk(typer.main.get_command(app))]

    assert len(names) > 50
    assert [name for name in names if f"## coord {name}\n" not in commands.page()] == []


def test_every_code_of_an_error_is_there() -> None:
    codes = {
        error.exit_code
        for error in vars(errors).values()
        if inspect.isclass(error) and issubclass(error, errors.CoordError)
    }

    assert {int(code) for code in re.findall(r"^\| (\d+) \|", exit_codes.page(), re.M)} == {
        0
    } | codes


def test_every_function_for_people_exists_and_every_relation_is_listed() -> None:
    page = sql.page()
    made = {name for kind, name, _ in sql._made() if kind in ("TABLE", "VIEW")}

    assert set(sql.OURS) <= {name for kind, name, _ in sql._made() if kind == "FUNCTION"}
    assert [name for name in made if f"| `{name}` |" not in page] == []


def test_every_public_name_is_there() -> None:
    page = python.page()

    assert [
        name for name in coordinator.__all__ if not re.search(rf"^### {name}\b", page, re.M)
    ] == []


def test_nothing_of_the_environment_is_in_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COORD_TASK_ID", "canary-of-the-environment")
    monkeypatch.setenv("CANARY", "canary-of-the-environment")

    for page in (commands, exit_codes, sql, python):
        assert "canary" not in page.page()


def test_the_pictures_are_those_that_the_script_draws() -> None:
    """`python docs/pictures/draw.py` draws them."""
    folder = ROOT / "docs/pictures"
    drawn = runpy.run_path(str(folder / "draw.py"))["PICTURES"]

    wrong = [name for name in drawn if (folder / f"{name}.svg").read_text() != drawn[name]().svg()]
    assert (wrong, len(drawn)) == ([], 5)
