"""Watch for suspends of the machine, which end the agent and the trust in all programs (T6)."""

from __future__ import annotations

import logging
import os
import signal
from functools import partial

from coordinator.app.config.settings import NodeSettings
from coordinator.protocol.guardian import wire
from coordinator.protocol.guardian.events import EVERY_RUN, KillOrdered
from coordinator.runtime.agent.suspend_watch import SuspendWatch
from coordinator.runtime.linux.channel import Channel
from coordinator.runtime.log import logger as log


def suspends(
    channel: Channel, logger: logging.Logger, settings: NodeSettings, *, succeeds: bool
) -> SuspendWatch:
    """Watch for suspends of this machine, which end the agent."""
    die = partial(_die_of_sleep, channel, logger, settings)
    return SuspendWatch(die, succeeds=succeeds)


def _die_of_sleep(channel: Channel, logger: logging.Logger, settings: NodeSettings) -> None:
    """Have all programs killed, then die; the successor begins with a new session (T6)."""
    channel.send(wire.build(KillOrdered(EVERY_RUN)))
    text = (
        f"{settings.group_id}: this machine was suspended: all trust is over, programs are killed"
    )
    fields = {"group": settings.group_id, "node": settings.task_id}
    log.say(logger, "suspended", text, fields)
    log.end()
    os.kill(os.getpid(), signal.SIGKILL)
