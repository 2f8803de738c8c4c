"""One reading of the configuration at a time, whatever happens to it."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from coordinator.app.config.settings import NodeSettings, ProgramSettings
from coordinator.app.node.reload import LiveSettings, given, merged, summary

LOGGER = logging.getLogger("tests.reload")


class Threads:
    """Starts nothing by itself: the test runs the bodies."""

    def __init__(self) -> None:
        self.bodies: list[Callable[[], None]] = []
        self.exhausted = False

    def start(self, body: Callable[[], None]) -> None:
        if self.exhausted:
            raise RuntimeError("can't start new thread")
        self.bodies.append(body)


@pytest.fixture
def threads() -> Threads:
    return Threads()


@pytest.fixture
def live(threads: Threads) -> LiveSettings:
    # A file that is not there: each reading fails, and says so.
    settings = NodeSettings(task_id="n", config_path="/proc/nowhere/Config.toml")
    return LiveSettings(settings, threads.start)


def test_requests_during_a_reading_become_one_reading_after_it(
    live: LiveSettings, threads: Threads, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(100):
        live.reload(LOGGER)
    (body,) = threads.bodies
    body()

    said = [record.getMessage().partition(": /proc")[0] for record in caplog.records]
    assert said == ["reload: nothing changed"] * 2

    live.reload(LOGGER)
    assert len(threads.bodies) == 2


def test_a_thread_that_cannot_be_started_is_said_and_tried_again(
    live: LiveSettings, threads: Threads, caplog: pytest.LogCaptureFixture
) -> None:
    threads.exhausted = True
    live.reload(LOGGER)
    threads.exhausted = False
    live.reload(LOGGER)

    assert [record.getMessage() for record in caplog.records] == [
        "reload: nothing changed: can't start new thread"
    ]
    assert len(threads.bodies) == 1


def test_a_reading_that_breaks_keeps_no_later_one_away(
    live: LiveSettings, threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    live.reload(LOGGER)
    settings, live.now = live.now, object()  # type: ignore[assignment]
    with pytest.raises(TypeError):
        threads.bodies[0]()
    live.now = settings

    live.reload(LOGGER)
    assert len(threads.bodies) == 2


def test_a_child_that_cannot_be_made_is_said(
    live: LiveSettings,
    threads: Threads,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("sys.executable", "/proc/nowhere/python")
    live.reload(LOGGER)
    threads.bodies[0]()

    (record,) = caplog.records
    assert record.getMessage().startswith("reload: nothing changed: no process to read")


def test_what_a_flag_said_stays_whatever_the_file_says_now() -> None:
    flags = {"http.listen": "flag --listen", "stopTimeout": "flag --stop-timeout"}
    old = NodeSettings(task_id="n", listen=":8008", stop_timeout_s=2.0, priority=3, origins=flags)
    new = NodeSettings(task_id="n", priority=4)

    kept = given(old, new)

    assert (kept["listen"], kept["stop_timeout_s"]) == (":8008", 2.0)
    assert "priority" not in kept


def test_a_setting_is_called_by_its_key_in_the_file() -> None:
    assert summary((), ("listen", "stop_timeout_s", "policy")) == (
        "kept until a restart: http.listen, stopTimeout, taskPolicy"
    )


def test_a_new_progress_timeout_waits_for_a_restart_and_the_rest_of_the_program_does_not() -> None:
    old = NodeSettings(task_id="n", program=ProgramSettings(argv=("a",), progress_s=1.0))
    new = NodeSettings(task_id="n", program=ProgramSettings(argv=("b",), progress_s=2.0))

    changed, kept, settings = merged(old, new)

    assert (changed, kept) == (("program",), ("program.progressTimeout",))
    assert settings.program == ProgramSettings(argv=("b",), progress_s=1.0)
