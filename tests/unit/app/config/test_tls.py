"""A user of a database elsewhere is warned when nothing proves that it is the database."""

from __future__ import annotations

from pathlib import Path

import pytest

from coordinator.app.config.loader import load

HEAD = "[databaseConfig]\n"


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def warnings(text: str, environ: dict[str, str]) -> tuple[str, ...]:
    Path("Config.toml").write_text(text)
    return load(None, flags={}, environ=environ).warnings


@pytest.mark.parametrize(
    ("text", "environ", "place", "mode", "host"),
    [
        (f'{HEAD}host = "db"', {}, "Config.toml:2", "prefer", "db"),
        (f'{HEAD}host = "db"\nsslmode = "require"', {}, "Config.toml:3", "require", "db"),
        (f'{HEAD}host = "db"\nsslmode = "verify-ca"', {}, "Config.toml:3", "verify-ca", "db"),
        (f'{HEAD}host = "localhost,db2"', {}, "Config.toml:2", "prefer", "db2"),
        (f'{HEAD}host = "db"', {"PGSSLMODE": "disable"}, "Config.toml:2", "disable", "db"),
        (f'{HEAD}host = "192.0.2.1"', {}, "Config.toml:2", "prefer", "192.0.2.1"),
        ("", {"COORD_DATABASE_URL": "postgresql://db/x"}, "env COORD_DATABASE_URL", "prefer", "db"),
        ("", {"PGHOST": "db"}, "env PGHOST", "prefer", "db"),
        (
            f'{HEAD}host = "db"\nsslmode = "verify-full"',
            {"COORD_DATABASE_URL": "host=db2 sslmode=require"},
            "env COORD_DATABASE_URL",
            "require",
            "db2",
        ),
    ],
)
def test_weaker_than_verify_full_is_warned_about(text, environ, place, mode, host):
    assert warnings(text, environ) == (
        f"{place}: databaseConfig.sslmode: '{mode}' does not prove that {host} is the database;"
        ' set sslmode = "verify-full" and sslrootcert',
    )


@pytest.mark.parametrize(
    ("text", "environ"),
    [
        ("", {}),
        (f'{HEAD}host = "localhost"', {}),
        (f'{HEAD}host = "127.0.0.2,::1,/run/postgresql"', {}),
        (f'{HEAD}user = "ana"', {}),
        (f'{HEAD}host = "db"\nsslmode = "verify-full"', {}),
        (f'{HEAD}host = "db"\nsslrootcert = "system"', {}),
        (f'{HEAD}host = "db"', {"PGSSLMODE": "verify-full"}),
        (f'{HEAD}host = "db"', {"PGSSLROOTCERT": "system"}),
        (f'{HEAD}service = "prod"', {}),
        ("", {"PGSERVICE": "prod"}),
        ("", {"COORD_DATABASE_URL": "host=db hostaddr=127.0.0.1"}),
        (f"{HEAD}embedded = true", {"PGHOST": "db"}),
    ],
)
def test_what_is_verified_or_stays_on_this_machine_is_not(text, environ):
    assert warnings(text, environ) == ()


def test_a_password_is_not_in_the_warning():
    (warning,) = warnings("", {"COORD_DATABASE_URL": "postgresql://u:canary@db/x"})

    assert "canary" not in warning
