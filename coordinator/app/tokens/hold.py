"""`coord token hold`: a node for one token and one run of one program, as flock has for a file.

The token NAME of the group G is the one that `coordinator.token("NAME")` holds, so locks of shells
and of Python programs exclude each other. The session is the command's own, and ends with it: a
lock lives as long as its process, needs no other node on the machine, and has the guardian of
`coord run`, which kills the program at the deadline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NoReturn

from coordinator.app.api.contender import reserved_name
from coordinator.app.config.model.values import TASK_NAME, TASK_NAME_RULE
from coordinator.app.config.settings import NodeSettings, ProgramSettings
from coordinator.app.node.start import run_node
from coordinator.errors import TokenHeldError, UsageError
from coordinator.protocol.messages.schedule import Policy

#: Longest name of group and token together, as in the tables.
NAME_LENGTH_MAX = 256


def hold(
    settings: NodeSettings,
    name: str,
    argv: Sequence[str],
    *,
    nonblock: bool = False,
    wait_s: float | None = None,
    conflict_code: int = TokenHeldError.exit_code,
) -> NoReturn:
    """Replace this process by the guardian of a program that runs once, under the token.

    settings: of a node of this machine; its database, intervals, isolation and log are used.
    Errors: UsageError for a malformed name; as `run_node` before anything was started.
    """
    token = token_of(settings.group_id, name)
    # The number belongs to this process, and to the guardian that takes its place.
    node, line = reserved_name(token, settings.task_id)
    line.set_inheritable(True)
    lock = replace(
        of_lock(settings),
        task_id=node,
        group_id=token,
        program=ProgramSettings(argv=tuple(argv)),
        nonblock=nonblock,
        wait_s=wait_s,
        conflict_exit_code=conflict_code,
    )
    run_node(lock)


def token_of(group: str, name: str) -> str:
    """Return the full name of a token.

    Errors: UsageError.
    """
    full = f"{group}/{name}"
    if not TASK_NAME.fullmatch(name) or len(full) > NAME_LENGTH_MAX:
        raise UsageError(f"NAME: {TASK_NAME_RULE} (got {name!r})")
    return full


def of_lock(settings: NodeSettings) -> NodeSettings:
    """Return the settings of a machine's node without what concerns its own program or tasks."""
    return replace(
        settings,
        priority=1,
        on_exit="stop",
        program=None,
        trigger=None,
        health=None,
        policy=Policy(),
        hosts_tasks=False,
        tasks=(),
        listen=None,
        tokens=None,
        one_run=True,
        config_hash="",
        warnings=(),
    )
