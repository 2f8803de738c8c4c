"""Any file, environment and flags give settings, or a ConfigError for a person."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import tomlkit
from hypothesis import example, given, settings
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from coordinator.app.config.loader import load, show
from coordinator.app.config.model.json_schema import known_keys, run_keys
from coordinator.app.config.model.names import ENVIRONMENT
from coordinator.app.config.settings import NodeSettings, from_json, to_json
from coordinator.app.config.template import files
from coordinator.errors import ConfigError

CANARY = "canary-99"
#: Texts that are special to a reader behind us: TOML, libpq, SQL, a shell, a terminal, a format.
NASTY = st.sampled_from(
    [
        *("", " ", "'", '"', "\\", "\0", "\n", "\r\n", "\x1b[31m", "\u2028", "\ud800", "ä", "𝄞"),
        *("%s", "%(x)s", "{}", "{hostname}", "{pid}", "{0.__class__}", "$(id)", "`id`", ";", "--"),
        *("'; DROP TABLE token_holder; --", "a b", "../../etc/passwd", "/", "-", "x" * 5000),
        *("NaN", "inf", "1e400", "-1", "0", "999999999999999999999", "١٢", "1_000", "0x10"),
        *("postgresql://", "postgresql://%", "postgresql://u@[::1", "host=", "host='", "a=b=c"),
        *("* * * * *", "0 0 31 2 *", "*/0 * * * *", "99 * * * *", "Europe/Berlin", "../x", "UTC"),
        *("2026-12-31T23:59:60Z", "0001-01-01", "9999-12-31T23:59:59+23:59", "P1D", "500ms", "6s"),
        *("json:loads", "a:b:c", "127.0.0.1:8008", ":99999", "localhost,localhost", "5432,5433"),
    ]
)
TEXTS = NASTY | st.text(max_size=20) | st.text("'\"\\ \n\t=[]{}%$:/@", max_size=8)


def tables(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.text("abcXYZ-_.", min_size=1, max_size=5), values, max_size=3)


MOMENTS = st.datetimes(
    datetime(1, 1, 2), timezones=st.just(timezone(timedelta(hours=14))) | st.none()
)
NUMBERS = st.integers(-(2**70), 2**70) | st.floats() | st.integers(-3, 100)
SCALARS = st.booleans() | NUMBERS | TEXTS | MOMENTS | st.dates() | st.times()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | tables(inner), max_leaves=4
)
TABLES = known_keys()
EXAMPLE = files()["Config.toml"]


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Return a file's content: mostly our own keys, with values that mostly do not fit."""
    document: dict[str, Any] = {}
    for keys in draw(st.lists(st.sampled_from(_paths()), max_size=6, unique=True)):
        table = document
        for key in keys[:-1]:
            inner = table.setdefault(key, {})
            table = inner if isinstance(inner, dict) else {}
        table[keys[-1]] = draw(VALUES)
    return document | draw(tables(VALUES) if draw(st.booleans()) else st.just({}))


def _paths() -> list[tuple[str, ...]]:
    return [(*table, key) for table, keys in TABLES.items() for key in keys]


def loaded(
    content: bytes,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> tuple[NodeSettings | None, str]:
    """Return the settings or what a person reads, held to its promises."""
    with tempfile.TemporaryDirectory() as home:
        path = Path(home, "Config.toml")
        path.write_bytes(content)
        try:
            made = load(str(path), flags=flags or {}, environ=environ or {})
        except ConfigError as error:
            said = str(error)
        else:
            said = repr(made) + repr(show(made))
            conninfo_to_dict(made.database.conninfo)
            assert from_json(to_json(made)) == made
            return made, said
    assert said.strip()
    assert all(line.strip() for line in said.split("\n"))
    assert "pydantic" not in said
    return None, said


@settings(max_examples=150)
@given(st.binary(max_size=200))
@example(b"\xef\xbb\xbftaskId = 1")
@example(b"\xff\xfe")
@example(b"\0")
@example(b"[" * 5000)
@example(b"a = " + b"[" * 5000)
@example(b"a." * 5000 + b"b = 1")
@example(b"priority = " + b"9" * 5000)
@example(b"heartbeatFrequency = 1e999")
def test_any_bytes(content: bytes):
    loaded(content)


@settings(max_examples=150)
@given(st.integers(0, len(EXAMPLE)), st.integers(0, 30), TEXTS)
def test_the_example_with_something_put_into_it(at: int, cut: int, text: str):
    loaded((EXAMPLE[:at] + text + EXAMPLE[at + cut :]).encode("utf-8", "surrogatepass"))


@settings(max_examples=300)
@given(documents())
def test_our_keys_with_any_values(document: dict[str, Any]):
    loaded(tomlkit.dumps(document).encode("utf-8", "surrogatepass"))


@settings(max_examples=200)
@given(
    st.dictionaries(
        st.sampled_from([*ENVIRONMENT, "PGHOST", "PGPORT", "PGSERVICE", "PGSSLMODE", "PGPASSWORD"]),
        TEXTS.filter(lambda text: "\0" not in text),
        max_size=5,
    )
)
@example({"COORD_DATABASE_PASSWORD_FILE": "\n\n"})
def test_any_environment(environ: dict[str, str]):
    loaded(b"", environ)


@settings(max_examples=150)
@given(st.dictionaries(st.sampled_from([".".join(path) for path in _paths()]), SCALARS, max_size=4))
def test_any_flags(flags: dict[str, object]):
    loaded(b"", {}, flags)


@settings(max_examples=100)
@given(st.sampled_from(run_keys()), SCALARS)
def test_any_option_of_one_start(key: str, value: object):
    loaded(b"", {}, {key: value})


@settings(max_examples=100)
@given(documents(), TEXTS)
def test_a_password_is_in_no_error(document: dict[str, Any], text: str):
    """Other errors, and other lines around it, make no difference."""
    database = document.setdefault("databaseConfig", {})
    if not isinstance(database, dict):
        return
    document["databaseConfig"] = {**database, "password": f"{CANARY}{text}"}

    _, said = loaded(tomlkit.dumps(document).encode("utf-8", "surrogatepass"))

    assert CANARY not in said
