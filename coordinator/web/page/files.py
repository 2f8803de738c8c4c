"""Files of the page, read once, with their types and tags."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files

TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class File:
    """One file; the tag changes with its bytes."""

    content: bytes
    kind: str
    tag: str


def page_files() -> dict[str, File]:
    """Return the files of the folder `static` by their names."""
    found = {}
    for each in files("coordinator.web.page").joinpath("static").iterdir():
        kind = TYPES.get(each.name.rpartition(".")[2])
        if kind is not None:
            content = each.read_bytes()
            tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
            found[each.name] = File(content, kind, tag)
    return found
