"""Problems of a configuration, one line each: place, key, rule, value.

A line never holds the value of a secret key, of an unknown key or of a list.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, time
from typing import TYPE_CHECKING

from coordinator.app.config.model.values import redacted

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

Path = tuple[str | int, ...]
Places = Mapping[Path, str]
Known = Mapping[tuple[str, ...], tuple[str, ...]]  #: table -> its keys

SECRET_KEYS = (("databaseConfig", "password"), ("databaseConfig", "url"))
#: An element of a list is written as tasks[0].name.
ELEMENT = re.compile(r"\.(\d+)(?=\.|$)")
#: A value is shown so that it can be found, not in full.
SHOWN_LETTERS_MAX = 60


#: Between a key and its rule; another gap makes the key the first word of a sentence.
KEY_GAP = ": "
#: Prefixes of places on a command line.
FLAG, ARGUMENT, COMMAND_LINE = "flag ", "argument ", "command line"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing to change before a node may start."""

    path: Path
    rule: str
    got: str = ""
    at: Path | None = None  #: the key whose place is shown, when it is another one
    gap: str = KEY_GAP  #: between key and rule

    def line(self, places: Places, otherwise: str) -> str:
        """Write the problem as one line; `otherwise` is the place of what stands nowhere."""
        key = ".".join(str(part) for part in self.path)
        key = ELEMENT.sub(r"[\1]", key)
        got = f" (got {self.got})" if self.got else ""
        # A rule about the whole of a table that stands alone has no key; a flag says it already.
        where = self.place(places) or otherwise
        named_by_flag = is_usage(where) and self.gap == KEY_GAP
        what = f"{key}{self.gap}" if key and not named_by_flag else ""
        return f"{where.removeprefix(FLAG)}: {what}{self.rule}{got}"

    def place(self, places: Places) -> str | None:
        """Return where to look for it."""
        return place_of(self.at or self.path, places)


def place_of(path: Path, places: Places) -> str | None:
    """Return where a key stands, or the innermost table around it that stands somewhere."""
    for end in range(len(path), 0, -1):
        if path[:end] in places:
            return places[path[:end]]
    return None


def is_usage(place: str) -> bool:
    """Return True if a place is on the command line."""
    return place.startswith((FLAG, ARGUMENT, COMMAND_LINE))


def problems_of(error: ValidationError, known: Known) -> list[Problem]:
    """Convert pydantic's errors to problems."""
    return [_problem(each, known) for each in error.errors(include_url=False)]


def in_order(problems: list[Problem], places: Places) -> list[Problem]:
    """Sort problems by the line of the file; those outside of a file come first."""

    def line(problem: Problem) -> int:
        at = re.search(r":(\d+)$", problem.place(places) or "")
        return int(at[1]) if at else 0

    return sorted(problems, key=line)


def _problem(error: ErrorDetails, known: Known) -> Problem:
    path = tuple(error["loc"])
    context = error.get("ctx", {})
    match error["type"]:
        case "extra_forbidden":
            return Problem(path=path, rule="unknown key" + _suggestion(path, known))
        case "rule":
            key = str(context["key"])
            return Problem(path=(*path, key) if key else path, rule=str(context["rule"]))
        case "missing":
            return Problem(path=path, rule="is missing")
        case "tuple_type":
            return Problem(path=path, rule=f"must be tables, each begun with [[{path[-1]}]]")
        case "model_type" | "dict_type" | "model_attributes_type":
            return Problem(path=path, rule="must be a table")
        case "value_error":
            return Problem(path=path, rule=str(context["error"]), got=_shown(path, error["input"]))
        case _:
            rule = error["msg"].replace("Input should be", "must be")
            return Problem(path=path, rule=rule, got=_shown(path, error["input"]))


def _suggestion(path: Path, known: Known) -> str:
    table = tuple(part for part in path[:-1] if isinstance(part, str))
    key = str(path[-1])
    wanted = _plain(key)
    beside = {_plain(each): each for each in known.get(table, ())}
    near = difflib.get_close_matches(wanted, beside, n=1, cutoff=0.7)
    others = sorted((other for other, keys in known.items() if key in keys), key=len)
    # Of several places, the one inside this very table is meant.
    others.sort(key=lambda other: other[: len(table)] != table)
    elsewhere = [".".join((*other, key)) for other in others]
    if elsewhere:
        where = " It belongs above the first [table]" if elsewhere[0] == key else ""
        return f"; did you mean '{elsewhere[0]}'?{where}"
    return f"; did you mean '{beside[near[0]]}'?" if near else ""


def _plain(key: str) -> str:
    return re.sub(r"[_-]", "", key).lower()


def _shown(path: Path, value: object) -> str:
    if path[:2] in SECRET_KEYS or path == ("databaseConfig",):
        return ""
    match value:
        case bool():
            return str(value).lower()
        case str():
            text = repr(redacted(value))
            return text if len(text) <= SHOWN_LETTERS_MAX else text[: SHOWN_LETTERS_MAX - 1] + "…"
        case int() | float() | date() | time():
            return str(value)[:SHOWN_LETTERS_MAX]
        case _:
            return ""
