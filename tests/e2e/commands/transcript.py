"""Transcripts of commands: what was typed, exit code, stdout and stderr, without what varies."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

#: Lines that are kept of an answer which changes with each table or setting.
DERIVED_LINES = 3
GOLDEN = Path(__file__).parent / "golden"
UPDATE = "COORD_UPDATE_GOLDEN"
_updating = bool(os.environ.get(UPDATE))

#: Texts that differ from run to run, and what stands for them. The width of a table's column stays.
VARYING: tuple[tuple[str, str], ...] = (
    (r"server .*  schema \S+  server time .*", "FOOTER"),
    (r'("server":) ?\{[^{}]*(?:\[[^\]]*\][^{}]*)?\}', r"\1 SERVER"),
    (r"\bsince \d\d:\d\d:\d\dZ", "since ##:##:##Z"),
    (r'("python": ?)"[\d.]+"', r'\1"PYTHON"'),
    (r"(?<=\t)3\.\d+\.\d+$", "PYTHON"),
    (r"\bpid \d+", "pid PID"),
    (r'("pid": ?)\d{6,}', r"\1PID"),
    (r'("\w+Seconds": ?)-?\d+(?:\.\d+)?(?:e-?\d+)?', r"\1AGE"),
    (r"(?<=[\t:])-?\d+\.\d+(?=[\t\n])", "AGE"),
    (r"\bin \d+ s\b", "in # s"),
    (r"\bchange \d+\b", "change N"),
)
#: Texts that keep their width: each digit becomes "#". Fixed moments are of rows.
DIGITS = (
    re.compile(r"\b\d+\.\d+ (?:s|ms)\b"),
    re.compile(r"\b(?!2026-11-(?:18|19|20))\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::[\d.]+)?(?:Z|\+00:00)"),
    re.compile(r"\b(?!00000000|529a2e9d)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """One command that has ended. derived: other tests compare the answer with its source."""

    title: str
    line: str
    code: int
    out: str
    err: str
    derived: bool = False

    def text(self, places: Iterable[tuple[str, str]]) -> str:
        """Return the transcript. places: texts of this run alone, and their names."""
        out, err = (steady(text, places) for text in (self.out, self.err))
        if self.derived:
            out = "\n".join([*out.splitlines()[:DERIVED_LINES], "..."])
        said = "".join(f"{line}\n" for line in out.splitlines())
        said += "".join(f"! {line}\n" for line in err.splitlines())
        return f"# {self.title}\n$ coord {self.line}\n{said}=> {self.code}\n"


def steady(text: str, places: Iterable[tuple[str, str]]) -> str:
    """Replace what differs from run to run."""
    for place, name in places:
        text = text.replace(place, name)
    for pattern, name in VARYING:
        text = re.sub(pattern, name, text)
    for varying in DIGITS:
        text = varying.sub(lambda found: re.sub(r"[0-9a-f]", "#", found[0]), text)
    return text


def told_of_any_machine(transcript: str) -> str:
    """Leave levels of isolation, clocks and numbers out of a transcript of `coord doctor`."""
    lines = transcript.splitlines()
    kept = [line for line in lines if line and not re.match(r"  |\* |\w+ +clock ", line)]
    return "".join(
        re.sub(r" {2,}", "  ", re.sub(r"-?\d+(?:\.\d+)*", "N", line)) + "\n"
        for line in kept
        if line
    )


def compare(name: str, transcript: str) -> None:
    """Compare with the golden file, or write it where COORD_UPDATE_GOLDEN=1 asks for that."""
    golden = GOLDEN / f"{name.replace(' ', '-')}.txt"
    if _updating:
        golden.write_text(transcript)
    assert transcript == golden.read_text(), f"{golden.name}: {UPDATE}=1 writes it anew"
