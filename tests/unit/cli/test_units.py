"""The command line's single words, ages and errors."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from coordinator.cli import errors
from coordinator.cli.commands.look.status import spelled_out
from coordinator.cli.options import PASSWORD_IN_URL
from coordinator.cli.render import documents, history_tables, units
from coordinator.cli.render.fitting import bar
from coordinator.cli.shared import TimeStyle
from coordinator.errors import ConfigError, DatabaseUnreachableError, NotFoundError, TokenHeldError

MOMENT = datetime(2026, 11, 20, 13, 48, 2, 500_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.31, "0.3 s"),
        (59.9, "59.9 s"),
        (14 * 60, "14m"),
        (3 * 3600, "3h"),
        (3 * 86400, "3d"),
    ],
)
def test_an_age_is_written_in_its_one_most_telling_unit(seconds: float | None, text: str) -> None:
    assert units.age(seconds) == text


@pytest.mark.parametrize(
    ("text", "seconds"), [("10", 10), ("10s", 10), ("500ms", 0.5), ("30m", 1800), ("24h", 86400)]
)
def test_a_time_may_be_written_with_its_unit(text: str, seconds: float) -> None:
    assert units.seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1", "0", "10x", "nan", "inf", "1 0"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time"):
        units.seconds_of(text)


def test_moments_are_written_in_utc_whatever_zone_they_came_in() -> None:
    elsewhere = MOMENT.astimezone(timezone(timedelta(hours=5)))

    assert units.iso(elsewhere) == "2026-11-20T13:48:02Z"
    assert units.when(elsewhere, 840.0, TimeStyle.AGO) == "14m ago"
    assert units.when(elsewhere, 840.0, TimeStyle.EPOCH) == "1795182482.500"


def test_text_of_others_cannot_command_the_terminal() -> None:
    assert units.safe("web\x1b[2J\n1") == "web?[2J?1"


def test_what_is_said_to_a_person_cannot_command_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    errors.report(ConfigError("web\x1b[2J\x9b1m: no\n\tIs it \x7f there?"), verbose=False)

    assert capsys.readouterr().err == "coord: web?[2J?1m: no\ncoord: \tIs it ? there?\n"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (["-w"], ["-w", "1"]),
        (["-w", "2"], ["-w", "2"]),
        (["-w", "orders"], ["-w", "1", "orders"]),
        (["orders", "--watch", "0.5", "-q"], ["orders", "--watch", "0.5", "-q"]),
        (["--", "-w"], ["--", "-w"]),
    ],
)
def test_watch_may_stand_without_seconds(written: list[str], meant: list[str]) -> None:
    assert spelled_out(written) == meant


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ana:secret@db/app",
        "postgresql://ana:se/cret@db/app?password=x",
        "host=db password=secret",
        "host=db PASSWORD = 'a b'",
        "postgresql://db/app?sslpassword=x",
    ],
)
def test_a_password_in_a_url_is_seen(url: str) -> None:
    assert PASSWORD_IN_URL.search(url)


@pytest.mark.parametrize(
    "url", ["postgresql://ana@db:5432/app", "postgresql://db1:5432,db2:5433/a@b", "host=db port=5"]
)
def test_a_port_is_no_password(url: str) -> None:
    assert not PASSWORD_IN_URL.search(url)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("a"), 78),
        (DatabaseUnreachableError("a"), 69),
        (NotFoundError("a"), 4),
        (TokenHeldError("a"), 75),
        (RuntimeError("a"), 1),
    ],
)
def test_each_family_of_errors_has_its_exit_code(
    error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert errors.report(error, verbose=False) == code
    assert "Traceback" not in capsys.readouterr().err


def test_every_line_of_a_list_of_problems_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    errors.report(ConfigError("one\ntwo"), verbose=False)

    assert capsys.readouterr().err == "coord: one\ncoord: two\n"


def test_an_unexpected_error_is_one_line_and_says_how_to_see_more(
    capsys: pytest.CaptureFixture[str],
) -> None:
    errors.report(ZeroDivisionError("by\nzero"), verbose=False)

    assert capsys.readouterr().err == (
        "coord: unexpected error: ZeroDivisionError: by; run again with -v for the traceback\n"
    )


def test_verbose_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise ZeroDivisionError("by zero")
    except ZeroDivisionError as error:
        errors.report(error, verbose=True)

    assert "Traceback" in capsys.readouterr().err


def test_rows_keep_their_columns_whatever_the_cells_hold() -> None:
    assert documents.tsv([("a", "b"), ("x\ty", None), (1, "z\n")]) == "a\tb\nx?y\t\n1\tz?"


@pytest.mark.parametrize(("fraction", "columns"), [(0.0, 0), (0.0001, 1), (0.5, 20), (1.0, 40)])
def test_a_gap_that_is_not_nothing_is_visible_in_a_plot(fraction: float, columns: int) -> None:
    assert len(bar(fraction)) == columns


def test_a_cause_is_told_once() -> None:
    assert history_tables.cause("release", "release") == "release"
    assert history_tables.cause("takeover", "no heartbeat") == "takeover (no heartbeat)"
    assert history_tables.cause("first", None) == "first"


def test_an_error_is_json_for_whoever_asked_for_json(capsys: pytest.CaptureFixture[str]) -> None:
    code = errors.report(ConfigError("one\ntwo"), verbose=False, as_json=True)

    said = json.loads(capsys.readouterr().err)
    assert said == {
        "apiVersion": "coord/v1",
        "kind": "Error",
        "exitCode": 78,
        "messages": ["one", "two"],
    }
    assert code == 78
