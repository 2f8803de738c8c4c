"""A password occurs in no error, no repr and nothing that is shown, however wrong the rest is."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from coordinator.app.config.loader import load, show
from coordinator.app.config.model.values import redacted
from coordinator.errors import ConfigError
from coordinator.store.driver.password_file import with_password

CANARY = "canary'\\ %41x"
BARE = "canary"
HEAD = "[databaseConfig]\n"


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("text", "environ"),
    [
        (f'{HEAD}password = ["{BARE}"]', {}),
        (f'{HEAD}password = {{ value = "{BARE}" }}', {}),
        (f'{HEAD}pasword = "{BARE}"', {}),
        (f'databaseConfig = "postgresql://u:{BARE}@h/d"', {}),
        (f'{HEAD}url = "postgresql://u:{BARE}%zz@h/d"', {}),
        (f'{HEAD}url = "mysql://u:{BARE}@h/d"', {}),
        (f'{HEAD}url = "{BARE}"', {}),
        (f'{HEAD}url = "password={BARE} oops"', {}),
        (f'{HEAD}url = "postgresql://u:{BARE}@h:99999/d"', {}),
        (f'{HEAD}url = "postgresql://u:{BARE}@h/d"\nhost = "x"', {}),
        (f'{HEAD}host = "postgresql://u:{BARE}@h/d"', {}),
        (f'{HEAD}user = 5\npassword = "{BARE}"', {}),
        (f'{HEAD}password = "{BARE}\\u0000"', {}),
        (f"{HEAD}password = {BARE}", {}),
        (f"{HEAD}password {BARE}", {}),
        (f'{HEAD}password = "{BARE}', {}),
        (f'{HEAD}password = "{BARE}\\q"', {}),
        (f'{HEAD}password = "{BARE}"\npassword = "{BARE}"', {}),
        (f'taskId = "postgresql://u:{BARE}@h/d"', {}),
        (f'taskId = "host=h password={BARE}"', {}),
        ("priority = -1", {"COORD_DATABASE_PASSWORD": BARE}),
        ("", {"COORD_DATABASE_URL": f"postgresql://u:{BARE}@h:port/d"}),
        ("", {"COORD_DATABASE_URL": f"postgresql://u:{BARE}@h/d", "COORD_DATABASE_HOST": "x"}),
        ("", {"COORD_DATABASE_PASSWORD": f"{BARE}\udcff"}),
    ],
)
def test_no_error_repeats_a_password(text, environ):
    Path("Config.toml").write_text(text)

    with pytest.raises(ConfigError) as refused:
        load("Config.toml", flags={}, environ=environ)

    told = "".join(traceback.format_exception_only(refused.value))
    assert BARE not in told
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


@pytest.mark.parametrize(
    ("text", "environ"),
    [
        (f"{HEAD}password = '''{CANARY}'''", {}),
        ("", {"COORD_DATABASE_PASSWORD": CANARY}),
        ("", {"COORD_DATABASE_PASSWORD_FILE": "secret"}),
        (f"{HEAD}passwordFile = 'secret'", {}),
        (f"{HEAD}url = 'postgresql://u:canary%27%5C%20%2541x@h/d'", {}),
    ],
)
def test_a_password_arrives_whole_and_is_shown_nowhere(text, environ):
    Path("Config.toml").write_text(text)
    Path("secret").write_text(CANARY + "\n")

    settings = load("Config.toml", flags={}, environ=environ)

    assert with_password(conninfo_to_dict(settings.database.conninfo))["password"] == CANARY
    assert BARE not in repr(settings)
    assert BARE not in repr(show(settings))
    shown = [row[:2] for row in show(settings)]
    assert {
        ("databaseConfig.password", "********"),
        ("databaseConfig.passwordFile", str(Path("secret").resolve())),
    } & set(shown)


@pytest.mark.parametrize("url", ["postgresql://u:canary@h/d", "host=h password=canary"])
def test_a_password_on_the_command_line_is_refused_as_wrong_usage(url):
    with pytest.raises(ConfigError, match=r"COORD_DATABASE_URL.*PGPASSFILE") as refused:
        load(None, flags={"databaseConfig.url": url}, environ={})

    assert refused.value.exit_code == 2
    assert ConfigError.exit_code == 78
    assert BARE not in str(refused.value)


def test_a_file_with_a_password_that_others_can_read_is_warned_about():
    path = Path("Config.toml")
    path.write_text(f'{HEAD}host = "localhost"\npassword = "{BARE}"\n')

    path.chmod(0o640)
    (warning,) = load(None, flags={}, environ={}).warnings
    path.chmod(0o600)

    assert warning.startswith("Config.toml:3: databaseConfig.password: other users can read")
    assert not load(None, flags={}, environ={}).warnings


@pytest.mark.parametrize("content", ["", "two\nlines\n", "\n"])
def test_a_password_file_has_one_line(content):
    Path("secret").write_text(content)

    with pytest.raises(ConfigError, match="must be a file of one line"):
        load(None, flags={}, environ={"COORD_DATABASE_PASSWORD_FILE": "secret"})


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("postgresql://u:canary@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:can@ary@h/d", "postgresql://u:***@h/d"),
        ("host=h password='can ary' user=u", "host=h password=*** user=u"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
    ],
)
def test_redacted_hides_what_looks_like_a_password(text, clean):
    assert redacted(text) == clean
