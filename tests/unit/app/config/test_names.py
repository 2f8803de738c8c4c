"""Sources of settings, and the few settings that a command which only reads needs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from coordinator.app.config import sources
from coordinator.app.config.loader import load
from coordinator.app.config.model.names import ENVIRONMENT, OTHER_VARIABLES, misspelled
from coordinator.errors import ConfigError
from coordinator.store.driver.password_file import password_now


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("COORD_GROPU_ID", "; did you mean COORD_GROUP_ID?"),
        ("COORD_HEARTBEAT", "; did you mean COORD_HEARTBEAT_FREQUENCY?"),
        ("COORD_LIVENESS_INTERVAL", "; did you mean COORD_LIVENESS_CHECK_INTERVAL?"),
        ("COORD_DB_URL", "; did you mean COORD_DATABASE_URL?"),
        ("COORD_DATABASE_NAME", "; did you mean COORD_DATABASE_DATABASE?"),
        ("COORD_XYZZY", ""),
    ],
)
def test_a_variable_that_means_nothing_is_named(variable, hint):
    assert misspelled({variable: "x"}) == (f"env {variable}: no variable of coord{hint}",)


def test_every_variable_that_the_code_speaks_of_is_known():
    """Else a node would warn about what coord itself sets or reads."""
    root = Path(__file__).resolve().parents[4]
    used = {
        name
        for folder in ("coordinator", "cli")
        for path in (root / folder).rglob("*.py")
        for name in re.findall(r'"(COORD_[A-Z_]*[A-Z])[="]', path.read_text())
    }

    assert used <= {*ENVIRONMENT, *OTHER_VARIABLES}
    assert len(used) > 40


def test_etc_is_looked_into_where_the_directory_has_no_file(directory, monkeypatch):
    system = directory / "etc.toml"
    system.write_text('groupId = "everywhere"\n')
    monkeypatch.setattr(sources, "SYSTEM_FILE", str(system))

    assert load(None, flags={}, environ={}).group_id == "everywhere"
    assert load(None, flags={}, environ={}).config_path == str(system)
    (directory / "Config.toml").write_text('groupId = "here"\n')
    assert load(None, flags={}, environ={}).group_id == "here"


def test_a_byte_order_mark_is_read_over_in_the_file_and_in_the_password(directory):
    """Windows' editors write one."""
    (directory / "secret").write_bytes(b"\xef\xbb\xbfpa ss\r\n")
    (directory / "Config.toml").write_bytes(
        b'\xef\xbb\xbftaskId = "n1"\r\n[databaseConfig]\r\npasswordFile = "secret"\r\nwhat = 1\r\n'
    )

    with pytest.raises(ConfigError) as caught:
        load(None, flags={}, environ={})
    assert str(caught.value) == "Config.toml:4: databaseConfig.what: unknown key"
    text = (directory / "Config.toml").read_bytes().replace(b"what = 1", b"")
    (directory / "Config.toml").write_bytes(text)
    settings = load(None, flags={}, environ={})
    assert settings.task_id == "n1"
    assert password_now(conninfo_to_dict(settings.database.conninfo)) == "pa ss"


@pytest.mark.parametrize(
    "wrong",
    [
        '[trigger]\ncron = "every now and then"\n[program]\ncallable = "a:b"\n',
        "livenessCheckInterval = 1\n",
        '[[tasks]]\nname = "/"\n',
        "nonsense = 1\n",
    ],
)
def test_a_look_needs_the_database_part_alone(directory, wrong):
    text = f'groupId = "g"\n{wrong}\n[databaseConfig]\nhost = "db1"\nconnectTimeout = 40\n'
    (directory / "Config.toml").write_text(text)

    with pytest.raises(ConfigError):
        load(None, flags={}, environ={})
    settings = load(None, flags={}, environ={}, looking=True)

    assert settings.group_id == "g"
    assert "host='db1'" in settings.database.conninfo or "host=db1" in settings.database.conninfo
