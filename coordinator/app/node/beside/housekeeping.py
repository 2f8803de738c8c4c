"""Retention beside a node: its thread, while the node holds its group's token."""

from __future__ import annotations

from coordinator.app.admin.cleaning.housekeeper import TIMEOUT_S, Housekeeper
from coordinator.app.config.settings import NodeSettings
from coordinator.protocol.node.state.node import holds
from coordinator.runtime.agent.loop import Agent
from coordinator.store.admin.connection import AdminConnection


def housekeeper_of(settings: NodeSettings, agent: Agent) -> Housekeeper:
    """Return the housekeeper of a node; in a task group the observer holds."""
    database = settings.database

    def connect() -> AdminConnection:
        return AdminConnection(database.conninfo, database.schema, database.label, TIMEOUT_S)

    seed = f"{settings.group_id}/{settings.task_id}"
    return Housekeeper(connect, settings.group_id, lambda: holds(agent.node), seed=seed)
