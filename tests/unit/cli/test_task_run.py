"""The end of `coord task run --wait`: the run's own end, or an error that says what goes on."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from coordinator.app.admin.program.runs import AskedRun, RunState
from coordinator.cli.commands.planned.run_task import failure_of, followed_run
from coordinator.errors import DatabaseUnreachableError

QUIET = cast("Any", SimpleNamespace(quiet=True))
ASKED = AskedRun(slot=datetime(2026, 1, 1, tzinfo=UTC), state=RunState.ASKED)


def ended(state: RunState) -> AskedRun:
    return AskedRun(slot=ASKED.slot, state=state, node="node-1", term=3, error="sh: exit code 4")


def test_a_run_is_followed_until_it_has_ended():
    states = iter([RunState.ASKED, RunState.RUNNING, RunState.OK, RunState.RUNNING])

    found = followed_run(QUIET, "night/archive", ASKED, lambda _: ended(next(states)))

    assert (found.state, list(states)) == (RunState.OK, [RunState.RUNNING])


def test_a_database_that_goes_away_meanwhile_ends_the_waiting_only():
    def away(_: AskedRun) -> AskedRun:
        raise DatabaseUnreachableError("db: nobody answers")

    with pytest.raises(
        DatabaseUnreachableError, match=r"nobody answers; night/archive: the run was asked for, and"
    ):
        followed_run(QUIET, "night/archive", ASKED, away)


@pytest.mark.parametrize(
    ("state", "code", "text"),
    [
        (RunState.FAILED, 1, "the run failed on node-1: sh: exit code 4"),
        (RunState.STOPPED, 76, "the run was stopped with its task on node-1: sh: exit code 4"),
        (RunState.DIED, 76, "the run died with its node on node-1; it is not repeated"),
        (RunState.EXPIRED, 75, "no node began the run in ten minutes; it is over"),
    ],
)
def test_each_end_that_is_no_success_has_its_code_and_words(state: RunState, code: int, text: str):
    failure = failure_of("night/archive", ended(state))

    assert failure is not None
    assert (failure.exit_code, str(failure)) == (code, f"night/archive: {text}")


@pytest.mark.parametrize("state", [RunState.OK, RunState.ASKED])
def test_a_run_that_succeeded_or_was_only_asked_for_is_no_failure(state: RunState):
    assert failure_of("night/archive", ended(state)) is None
