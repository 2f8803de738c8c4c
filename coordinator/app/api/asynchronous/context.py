"""Facts for one scheduled run of a coroutine function of an application."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime

from coordinator.app.api.asynchronous.token import AsyncToken


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncJobContext:
    """Facts for a run of a coroutine function; as in `JobContext`."""

    group: str
    name: str
    node: str
    term: int
    session: str
    scheduled_at: datetime
    count: int
    token: AsyncToken
    stop_event: asyncio.Event
