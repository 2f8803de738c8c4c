"""The documentation site: assembles what Zensical builds from the pages of the repository.

    python -m tests.house.site DIRECTORY     writes zensical.toml and pages/ there (make docs)

docs/index.md orders the pages, and nothing else does: its sections and links are the navigation.
Pages and files outside of docs/ that a page links to come along below `repository/`.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

from tests.house.links import FENCED, LINK, ROOT, links, prose

DOCS = ROOT / "docs"
#: Kinds of files below docs/ that belong to the site; pages lead to others by a link.
PUBLISHED = (".md", ".svg", ".png")
INDEX = DOCS / "index.md"
SECTION = re.compile(r"^## +(.+?) *$", flags=re.MULTILINE)
ENTRY = re.compile(r"\[([^\]]+)\]\(([^)#\s]+)\)")
HEAD = """\
[project]
site_name = "coord"
site_description = "Exactly one active instance of a program among many nodes, over PostgreSQL"
docs_dir = "pages"
site_dir = "site"
nav = [
{nav}
]

[project.theme]
font = false
"""


def navigation(text: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the sections of the index, each with the titles and targets of its links."""
    _, *parts = SECTION.split(prose(text))
    return [(name, ENTRY.findall(body)) for name, body in zip(parts[::2], parts[1::2], strict=True)]


def place(path: Path) -> Path:
    """Return where a file of the repository stands on the site."""
    if path.is_relative_to(DOCS):
        return path.relative_to(DOCS)
    return Path("repository") / path.relative_to(ROOT)


def target(page: Path, link: str) -> Path:
    """Return the file that a link of a page leads to; a folder stands for its README."""
    path = Path(os.path.normpath(page.parent / link.partition("#")[0]))
    return path / "README.md" if path.is_dir() else path


def needed() -> list[Path]:
    """Return all pages and files of the site: those of docs/, and what they lead to."""
    todo = sorted(path for path in DOCS.rglob("*") if path.suffix in PUBLISHED)
    found: dict[Path, None] = {}
    while todo:
        path = todo.pop()
        if path in found:
            continue
        found[path] = None
        if path.suffix == ".md":
            text = path.read_text()
            todo += [target(path, link) for link in links(text) if not link.startswith("#")]
    return sorted(found)


def moved(page: Path, text: str) -> str:
    """Return a page with its links as they are on the site; blocks of code stay as they are."""
    home = place(page).parent

    def rewritten(found: re.Match[str]) -> str:
        link = found[1]
        if link.startswith("#"):
            return found[0]
        anchor = link.partition("#")[1:]
        return f"]({os.path.relpath(place(target(page, link)), home)}{''.join(anchor)})"

    parts, end = [], 0
    for block in FENCED.finditer(text):
        parts += [LINK.sub(rewritten, text[end : block.start()]), block[0]]
        end = block.end()
    return "".join([*parts, LINK.sub(rewritten, text[end:])])


def write(directory: Path) -> None:
    """Write the site's configuration and pages into a directory, which is emptied before."""
    shutil.rmtree(directory, ignore_errors=True)
    for path in needed():
        there = directory / "pages" / place(path)
        there.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".md":
            there.write_text(moved(path, path.read_text()))
        else:
            shutil.copyfile(path, there)
    sections = ['  { "Home" = "index.md" },']
    for name, entries in navigation(INDEX.read_text()):
        inner = "".join(
            f'    {{ "{title}" = "{place(target(INDEX, link))}" }},\n' for title, link in entries
        )
        sections.append(f'  {{ "{name}" = [\n{inner}  ] }},')
    (directory / "zensical.toml").write_text(HEAD.format(nav="\n".join(sections)))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
