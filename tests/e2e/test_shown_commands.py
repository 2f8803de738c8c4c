"""Lines of README and docs that call coord are read as they stand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

ROOT = Path(__file__).parents[2]


def shown_commands() -> list[str]:
    """Return the lines of README and docs that call coord, as a shell would read them."""
    found = []
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for block in re.findall(r"^ *```.*?^ *```$", page.read_text(), flags=re.DOTALL | re.M):
            for line in block.replace("\\\n", " ").splitlines():
                match = re.match(r"^ *(?:\$ )?(coord [a-z].*)$", line)
                if match and "…" not in match[1]:
                    found.append(match[1])
    return sorted(set(found))


def words_of(line: str) -> list[str]:
    """Return the words of the one command, without its comment and what is behind it."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words = []
    for word in lexer:
        if word in ("|", "||", "&&", ";", ">", "<", "&", "2>", ">>"):
            break
        words.append(word)
    return words[1:]


@pytest.mark.parametrize("line", shown_commands())
def test_a_command_that_a_page_shows_is_read_as_it_stands(
    line: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every option and argument exists; what the command does is shown by other tests."""
    from coordinator.cli import options
    from coordinator.cli.main import app

    command: Any = typer.main.get_command(app)
    options.attach(command)
    _without_callbacks(command)

    with pytest.raises(SystemExit) as end:
        command.main(args=words_of(line), prog_name="coord", obj={})

    assert end.value.code in (0, None), capfd.readouterr().err


def _without_callbacks(command: Any) -> None:
    command.callback = None
    for inner in getattr(command, "commands", {}).values():
        _without_callbacks(inner)


def test_pages_show_commands() -> None:
    assert len(shown_commands()) >= 20
