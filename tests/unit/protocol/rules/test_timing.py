"""Rule T1: the program is dead before anybody may take over, on every clock within RATE_ERROR."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.errors import TimingError
from coordinator.protocol.guardian.run import KILL_MAX_S
from coordinator.protocol.rules.timing import KILL_BOUND_S, RATE_ERROR, Timing, lease_of

LIVENESS = st.floats(min_value=1.0, max_value=3600.0)
RATES = st.floats(min_value=1 - RATE_ERROR, max_value=1 + RATE_ERROR)


def timing_of(liveness_s: float, share: float = 0.2) -> Timing:
    return Timing(liveness_s=liveness_s, heartbeat_s=liveness_s * share)


def test_guardian_complains_about_a_kill_that_takes_longer_than_the_lease_allows() -> None:
    """T1: the guardian states the bound itself, for it loads no `dataclasses`."""
    assert KILL_MAX_S == KILL_BOUND_S


@given(LIVENESS, RATES, RATES)
def test_program_is_dead_before_a_takeover(
    liveness_s: float, holder_rate: float, watcher_rate: float
) -> None:
    """T1, in true seconds from the moment at which the last heartbeat was both sent and seen."""
    dead_after_s = lease_of(liveness_s) / holder_rate + KILL_BOUND_S
    taken_after_s = liveness_s / watcher_rate

    assert dead_after_s <= taken_after_s + 1e-9


def test_lease_is_as_long_as_it_may_be() -> None:
    worst_s = lease_of(6.0) / (1 - RATE_ERROR) + KILL_BOUND_S
    assert worst_s == pytest.approx(6.0 / (1 + RATE_ERROR))


def test_documented_leases() -> None:
    assert lease_of(6.0) == pytest.approx(4.73, abs=0.01)
    assert lease_of(3.0) == pytest.approx(2.27, abs=0.01)


@given(LIVENESS)
def test_two_attempts_fit_between_a_missed_heartbeat_and_the_stop(liveness_s: float) -> None:
    timing = timing_of(liveness_s)
    spent_s = timing.heartbeat_s + 2 * timing.attempt_s + timing.stop_timeout_s

    assert timing.attempt_s > 0
    assert spent_s == pytest.approx(timing.lease_s)


@given(LIVENESS)
def test_default_stop_timeout_leaves_two_heartbeats(liveness_s: float) -> None:
    timing = timing_of(liveness_s)

    assert 0 <= timing.stop_timeout_s <= 10
    assert 2 * timing.heartbeat_s + timing.stop_timeout_s <= timing.lease_s


@given(LIVENESS)
def test_the_interval_that_a_refusal_names_is_the_smallest_that_does(liveness_s: float) -> None:
    heartbeat_s = liveness_s / 3.001
    try:
        Timing(liveness_s=liveness_s, heartbeat_s=heartbeat_s)
    except TimingError as error:
        named_s = float(str(error).rpartition(" = ")[2].removesuffix(" does"))
        Timing(liveness_s=named_s, heartbeat_s=heartbeat_s)
        with pytest.raises(TimingError):
            Timing(liveness_s=named_s - 0.02, heartbeat_s=heartbeat_s)


def test_a_stop_timeout_may_be_longer_than_the_lease() -> None:
    """Rules T1 and G1: when trust ends it gets what two missed heartbeats leave of the lease."""
    timing = Timing(liveness_s=6.0, heartbeat_s=1.0, stop_timeout_s=60.0)

    assert timing.stop_timeout_s == 60.0
    assert timing.last_stop_s(60.0) == pytest.approx(timing.lease_s - 2.0)
    assert timing.last_stop_s(1.5) == 1.5
    assert timing.attempt_s > 0


def test_stop_timeout_is_kept_as_given() -> None:
    assert Timing(liveness_s=30, heartbeat_s=1, stop_timeout_s=0).stop_timeout_s == 0


@pytest.mark.parametrize(
    ("liveness_s", "heartbeat_s", "stop_timeout_s", "named"),
    [
        (3.0, 0.0, -1.0, "heartbeatFrequency"),
        (3.0, -1.0, -1.0, "heartbeatFrequency"),
        (2.9, 1.0, -1.0, "livenessCheckInterval"),
        (0.61, 0.2, -1.0, "livenessCheckInterval = 0.71 does"),
    ],
)
def test_settings_that_cannot_keep_the_promise_are_refused(
    liveness_s: float, heartbeat_s: float, stop_timeout_s: float, named: str
) -> None:
    """The error names key, value and rule, and has the exit code of wrong settings."""
    with pytest.raises(TimingError, match=named) as raised:
        Timing(liveness_s=liveness_s, heartbeat_s=heartbeat_s, stop_timeout_s=stop_timeout_s)
    assert raised.value.exit_code == 78
    assert "\n" not in str(raised.value)


def test_a_gap_in_the_watching_is_shorter_than_the_wait() -> None:
    timing = Timing(liveness_s=6.0, heartbeat_s=1.0)
    assert timing.heartbeat_s + timing.attempt_s < timing.gap_max_s < timing.liveness_s
