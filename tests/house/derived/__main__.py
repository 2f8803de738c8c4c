"""Writes every derived file."""

from __future__ import annotations

from pathlib import Path

from tests.house.derived import files

ROOT = Path(__file__).parents[3]

for name, text in files().items():
    (ROOT / name).write_text(text)
