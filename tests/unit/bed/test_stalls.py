"""The campaign's observer of the machine notes when it was kept waiting, and for how long."""

from __future__ import annotations

import sys

from tests.faults.campaign.history import Span
from tests.faults.campaign.remembered import boottime
from tests.faults.campaign.stalls import Stalls, stalled_s
from tests.support.nodes.processes import eventually

BUSY_S = 0.3


def test_a_thread_that_nobody_lets_run_is_noted() -> None:
    switch_s = sys.getswitchinterval()
    with Stalls() as stalls:
        sys.setswitchinterval(10 * BUSY_S)  # this thread gives nothing away while it computes
        try:
            since = boottime()
            while boottime() < since + BUSY_S:
                pass
            until = boottime()
        finally:
            sys.setswitchinterval(switch_s)
        eventually(lambda: stalls.spans, 10, "a stall is noted")

    assert stalled_s(stalls.spans, since, until) > BUSY_S / 2


def test_only_what_lies_within_the_stretch_counts() -> None:
    spans = [Span(1.0, 2.0), Span(5.0, 7.0)]

    assert stalled_s(spans, 1.5, 6.0) == 0.5 + 1.0
    assert stalled_s(spans, 2.0, 5.0) == 0.0
    assert stalled_s(spans, 6.0, 1.0) == 0.0
