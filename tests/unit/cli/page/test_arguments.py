"""Arguments of `coord ui`: the secret, the address, the names."""

from __future__ import annotations

from pathlib import Path

import pytest

from coordinator.cli.commands.ui.commands import names_of, opened, read_token, url_of
from coordinator.errors import ConfigError

SECRET = "s3cret-of-the-admin"


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_the_secret_is_the_word_of_a_file(tmp_path: Path) -> None:
    assert read_token(written(tmp_path / "token", f" {SECRET}\n")) == SECRET


@pytest.mark.parametrize(
    ("text", "mode", "why"),
    [
        ("short", 0o600, "of 16 to 1024"),
        ("x" * 5000, 0o600, "of 16 to 1024"),
        ("two words of a secret", 0o600, "one word"),
        ("s\u00e9cret-of-the-administrator", 0o600, "not in ASCII"),
        (SECRET, 0o640, "chmod 600"),
        (SECRET, 0o602, "chmod 600"),
    ],
)
def test_another_file_is_refused_and_not_quoted(
    tmp_path: Path, text: str, mode: int, why: str
) -> None:
    with pytest.raises(ConfigError, match=why) as refused:
        read_token(written(tmp_path / "token", text, mode))

    assert text not in str(refused.value)


def test_a_file_without_an_end_is_not_read_to_it() -> None:
    with pytest.raises(ConfigError, match="chmod 600"):
        read_token(Path("/dev/zero"))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_token(tmp_path / "none")


def test_an_address_that_is_in_use_or_none_is_refused() -> None:
    (listener,) = opened("127.0.0.1:0")
    port = listener.getsockname()[1]
    try:
        assert url_of(listener) == f"http://127.0.0.1:{port}/"
        with pytest.raises(ConfigError, match=f"--listen: 127.0.0.1:{port}: .*in use"):
            opened(f"127.0.0.1:{port}")
    finally:
        listener.close()
    for none in ("nowhere", "127.0.0.1:http", "127.0.0.1:99999"):
        with pytest.raises(ConfigError, match="--listen"):
            opened(none)


def test_names_are_compared_without_case() -> None:
    assert "db.example.org" in names_of(["DB.example.org."])
