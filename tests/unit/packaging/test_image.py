"""The Dockerfile: two stages, no root, no embedded server, a check of its health."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "Dockerfile").read_text()


def instructions() -> list[tuple[str, str]]:
    """Return the instructions, with continued lines joined."""
    joined = re.sub(r"\\\n", " ", TEXT)
    lines = [line for line in joined.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split()[0], " ".join(line.split()[1:])) for line in lines]


def last_stage() -> list[tuple[str, str]]:
    every = instructions()
    begins = [place for place, (word, _) in enumerate(every) if word == "FROM"]
    assert len(begins) == 2
    return every[begins[-1] :]


def test_every_instruction_is_one():
    known = {"FROM", "ENV", "WORKDIR", "RUN", "COPY", "USER", "STOPSIGNAL", "HEALTHCHECK", "CMD"}

    assert {word for word, _ in instructions()} <= known


def test_the_image_runs_as_nobody_special():
    assert ("USER", "10001") in last_stage()


def test_the_image_never_does_without_a_database():
    environment = " ".join(rest for word, rest in last_stage() if word == "ENV")

    assert "COORD_REQUIRE_DATABASE=1" in environment
    assert "embedded" not in "".join(rest for _, rest in instructions())


def test_the_image_checks_its_health_without_a_database():
    (check,) = [rest for word, rest in last_stage() if word == "HEALTHCHECK"]

    assert check.endswith('CMD ["coord", "check", "--local"]')


def test_bytecode_is_compiled_in_the_build():
    assert "UV_COMPILE_BYTECODE=1" in TEXT
    assert [
        rest for word, rest in instructions() if "pip install" in rest and "--compile" not in rest
    ] == []


def test_everything_that_is_copied_is_let_through():
    allowed = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = {
        name
        for word, rest in instructions()
        if word == "COPY" and not rest.startswith("--from")
        for name in rest.split()[:-1]
    }

    assert {name.split("/")[0] for name in copied} <= allowed
    assert {name for name in copied if not (ROOT / name).exists()} == set()
