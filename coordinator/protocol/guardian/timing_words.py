"""The word by which an agent tells its guardian of another lease (docs/protocol.md, rule I6)."""

from __future__ import annotations

from typing import NamedTuple


class Retimed(NamedTuple):
    """The group's livenessCheckInterval has changed, and the agent's lease with it.

    room_s: seconds of the lease that two missed heartbeats leave: a program gets no more of it to
            end in than that when trust runs out (T1).
    """

    silence_max_s: float
    room_s: float
