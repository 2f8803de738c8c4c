"""The settings of a node travel between its processes, and cost nothing to import."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.app.config.loader import load
from coordinator.app.config.model.names import SETTINGS
from coordinator.app.config.model.values import duration_s
from coordinator.app.config.settings import (
    DatabaseSettings,
    NodeSettings,
    ProgramSettings,
    by_key,
    from_json,
    to_json,
)
from coordinator.protocol.messages.schedule import Policy, Retry, Trigger

FULL = NodeSettings(
    task_id="node-1",
    group_id="orders",
    program=ProgramSettings(argv=("a", "é\n"), cwd="/"),
    trigger=Trigger(cron="* * * * *", max_count=3),
    policy=Policy(retry=Retry(max_interval_s=2.5)),
    database=DatabaseSettings(conninfo="host=a password='b c'", embedded="/x", named=True),
    wait_s=1.5,
    origins={"taskId": "Config.toml:1"},
    warnings=("careful",),
)
HOURLY = Trigger(interval_s=3600)


@pytest.mark.parametrize("settings", [FULL, NodeSettings(task_id="a")])
def test_settings_survive_the_way_through_json(settings):
    assert from_json(to_json(settings)) == settings


def test_loaded_settings_survive_the_way_through_json():
    path = Path(__file__).parent / "seed_config.toml"
    settings = load(str(path), flags={}, environ={}, argv=("a", "b"))

    assert from_json(to_json(settings)) == settings


def test_a_conninfo_is_in_no_repr():
    assert "b c" not in repr(FULL)


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import coordinator.app.config.settings", ("pydantic", "psycopg", "sqlalchemy")),
        (
            "from coordinator.app.config.loader import load; load(None, flags={}, environ={})",
            ("psycopg", "sqlalchemy", "apscheduler", "alembic", "rich"),
        ),
    ],
)
def test_nothing_heavy_is_imported(statement, absent, tmp_path):
    code = f"import sys; {statement}; print(*(set({absent!r}) & set(sys.modules)))"

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )

    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_every_field_with_a_key_is_a_setting_with_the_same_default():
    """By the names of the models; those that follow from other settings have none there."""
    plain = by_key(NodeSettings(task_id="n", program=ProgramSettings(), trigger=HOURLY))
    plain |= by_key(FULL)

    assert {tuple(key.split(".")) for key in plain} <= set(SETTINGS)
    for key, value in by_key(NodeSettings(task_id="n")).items():
        default = SETTINGS[tuple(key.split("."))].info.default
        assert key == "taskId" or default in (value, None), key


@pytest.mark.parametrize(
    ("raw", "seconds"),
    [(1, 1.0), (0.5, 0.5), ("6", 6.0), ("500ms", 0.5), ("6s", 6.0), ("1.5m", 90.0), ("1h", 3600.0)],
)
def test_durations_are_numbers_or_texts_with_a_unit(raw, seconds):
    assert duration_s(raw) == seconds


@given(st.integers(0, 10**8))
def test_milliseconds_are_exact_to_the_microsecond(count):
    assert duration_s(f"{count}ms") == count / 1000


@given(st.text(max_size=8).filter(lambda text: not re.match(r"\s*-?\s*[\d.]", text)))
def test_any_other_text_is_refused_with_the_rule(raw):
    with pytest.raises(ValueError, match=r"^must be seconds"):
        duration_s(raw)


@pytest.mark.parametrize(
    "raw", ["6 s s", "1h30m", "1e3", "0x10", "٣s", "6S", True, None, [1], 1e999]
)
def test_what_only_looks_like_a_duration_is_refused(raw):
    with pytest.raises(ValueError, match=r"^must be seconds"):
        duration_s(raw)
