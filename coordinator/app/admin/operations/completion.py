"""Words that may stand at the cursor of a statement about operations."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from coordinator.protocol.operations.statement import BARE, KEYWORDS, quoted

_WORD = re.compile(r"[A-Za-z0-9_.$-]*$")
_TYPE = re.compile(r"\bTYPE\s+([A-Za-z_]\w*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Known:
    """Names for the completion.

    types: the options of each type. names: (kind, name) of clusters, nodes and operations.
    """

    types: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    names: tuple[tuple[str, str], ...] = ()
    views: tuple[str, ...] = ()


def candidates(before: str, known: Known) -> Iterator[tuple[str, int]]:
    """Yield each word that may stand here, and how many typed characters it replaces."""
    if before.count("'") % 2:
        begin = before.rindex("'")  # inside of quotes
    else:
        found = _WORD.search(before)
        assert found is not None, "it matches the empty text"
        begin = found.start()
    typed = before[begin:]
    wanted = typed.strip("'").lower()
    for word in _possible(before[:begin], known):
        if word.strip("'").lower().startswith(wanted):
            yield word, len(typed)


def _possible(before: str, known: Known) -> list[str]:
    """Return the words that may follow a text."""
    words = before.upper().split(";")[-1].split()
    last = words[-1] if words else ""
    if not words:
        return ["CREATE TASK", "CANCEL TASK", "SELECT * FROM sys.tasks"]
    if words[0] in ("SELECT", "WITH", "TABLE"):
        return list(known.views) if last in ("FROM", "JOIN", "TABLE") else ["FROM", "WHERE"]
    if words in (["CREATE"], ["CANCEL"]):
        return ["TASK"]
    if words[0] == "CANCEL":
        return [quoted(name) for kind, name in known.names if kind == "task"]
    if last == "TYPE":
        return list(known.types)
    if last == "LOCATION":
        return ["SYSTEM", "CLUSTER", "NODE"]
    if last in ("CLUSTER", "NODE") and "OPTIONS" not in words:
        return [_written(name) for kind, name in known.names if kind == last.lower()]
    if "OPTIONS" in words:
        return _in_options(before, last, known)
    return ["TYPE"] if "TYPE" not in words else ["LOCATION", "OPTIONS"]


def _in_options(before: str, last: str, known: Known) -> list[str]:
    if last == "OPTIONS" or last.endswith(","):
        found = _TYPE.search(before)
        return [f"{key} = " for key in known.types.get(found[1] if found else "", ())]
    if last == "=":
        key = before.rstrip(" =").split()[-1].lower()
        if key == "node":
            return [quoted(name) for kind, name in known.names if kind == "node"]
        return ["true", "false", "["]
    return []


def _written(name: str) -> str:
    """Write a name as it stands in a statement: in quotes where it needs them."""
    bare = BARE.fullmatch(name) and name.upper() not in KEYWORDS
    return name if bare else quoted(name)
