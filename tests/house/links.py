"""Links of the pages: where each leads, and whether that is there, anchors included.

A link counts as whole when its file exists and its anchor is the one of a heading, both as GitHub
and as the documentation site make anchors of headings; external addresses are not looked up.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCED = re.compile(r"^ *(```+|~~~+).*?^ *\1 *$", flags=re.DOTALL | re.MULTILINE)
COMMENT = re.compile(r"<!--.*?-->", flags=re.DOTALL)
INLINE = re.compile(r"`[^`\n]*`")
#: A link or a picture, to anything but another server.
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)\s]+)\)")
EXTERNAL = re.compile(r"\]\((https?:[^)\s]+)\)|<(https?:[^>\s]+)>")
HEADING = re.compile(r"^#{1,6} +(.+?) *#* *$", flags=re.MULTILINE)


def pages() -> list[Path]:
    """Return all pages for people: those of the root, of docs/, and the README of each folder."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    for folder in ("examples", "recipes", "bench", "model", "packaging"):
        found += ROOT.glob(f"{folder}/**/*.md")
    return sorted(found)


def prose(text: str) -> str:
    """Return the text without blocks of code and comments; lines stay where they are."""
    for pattern in (FENCED, COMMENT):
        text = pattern.sub(lambda found: "\n" * found[0].count("\n"), text)
    return text


def links(text: str) -> list[str]:
    """Return the targets of all links to files and anchors, in their order."""
    return LINK.findall(INLINE.sub("", prose(text)))


def anchors(text: str) -> frozenset[str]:
    """Return the anchors of the headings on which GitHub and the site agree."""
    headings = [_plain(heading) for heading in HEADING.findall(prose(text))]
    return frozenset(_unique(map(github_anchor, headings), "-")) & frozenset(
        _unique(map(site_anchor, headings), "_")
    )


def github_anchor(heading: str) -> str:
    """Return the anchor of a heading on GitHub: a dash for each space, no punctuation."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def site_anchor(heading: str) -> str:
    """Return the anchor of a heading on the site: ASCII, one dash for several spaces."""
    ascii_only = unicodedata.normalize("NFKD", heading).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", ascii_only).strip().lower())


def broken(page: Path, text: str) -> list[str]:
    """Return the links of a page whose file or anchor is not there, as they are written."""
    return [link for link in links(text) if not _leads_somewhere(page, text, link)]


def _leads_somewhere(page: Path, text: str, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = page if not path else page.parent / path
    if not target.exists():
        return False
    if not anchor:
        return True
    if target.suffix != ".md":
        return False
    return anchor in anchors(text if target == page else target.read_text())


def _plain(heading: str) -> str:
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").replace("*", "")


def _unique(made: Iterator[str], joint: str) -> Iterator[str]:
    seen: dict[str, int] = {}
    for anchor in made:
        count = seen[anchor] = seen.get(anchor, -1) + 1
        yield f"{anchor}{joint}{count}" if count else anchor
