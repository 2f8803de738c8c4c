"""The measurement of gates, in a short form: it measures a takeover, whatever that takes."""

from __future__ import annotations

import pytest

from bench.parts.gates import gap_of
from tests.support.servers.postgres import Server

pytestmark = pytest.mark.real


def test_a_gap_is_measured_for_a_started_standby(server: Server) -> None:
    assert gap_of(server, "started", "stop", start_s=0.1) > 0
