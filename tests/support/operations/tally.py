"""A plug-in type: each subtask writes when it began and ended, and one row under its claim.

Options: count (subtasks), gate (a file; a run waits for it), fail (entities that fail), kill (those
that kill their worker), slow (seconds of a run).
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from coordinator.protocol.operations.types import (
    STOPPED,
    Kind,
    Location,
    Option,
    Plan,
    PlannedSubtask,
    SubtaskEnd,
    SubtaskState,
    TypeSpec,
)

PAUSE_S = 0.01


class Tally:
    spec = TypeSpec(
        name="tally",
        locations=frozenset({Location.SYSTEM, Location.CLUSTER}),
        options=(
            Option(key="count", kind=Kind.NUMBER),
            Option(key="gate", kind=Kind.STRING),
            Option(key="fail", kind=Kind.LIST),
            Option(key="kill", kind=Kind.LIST),
            Option(key="slow", kind=Kind.NUMBER),
        ),
        result=True,
    )

    def offered(self, settings) -> bool:  # noqa: ARG002
        return True

    def plan(self, planning) -> Plan:
        count = planning.options.get("count", 1)
        return Plan(
            tuple(
                PlannedSubtask(entity=f"{number:04}", argument={"number": number}, units=2, size=10)
                for number in range(count)
            ),
            {"wanted": count},
        )

    def run(self, subtask) -> SubtaskEnd:
        note("begin", subtask)
        pause = threading.Event()
        if subtask.entity in subtask.options.get("kill", ()):
            os.kill(os.getpid(), 9)
        for _ in range(int(subtask.options.get("slow", 0) / PAUSE_S)):
            note("at", subtask)
            pause.wait(PAUSE_S)
        gate = subtask.options.get("gate")
        while gate and not Path(gate).exists():
            note("at", subtask)
            if subtask.stop_asked():
                note("end", subtask)
                return STOPPED
            subtask.progress(units=1, size=5)
            pause.wait(PAUSE_S)
        if subtask.entity in subtask.options.get("fail", ()):
            note("end", subtask)
            raise ValueError("told to fail")
        with subtask.transaction() as connection:
            known = connection.execute(
                "SELECT 1 FROM public.tally WHERE operation = %s AND entity = %s",
                (subtask.operation, subtask.entity),
            ).fetchone()
            if known is None:
                connection.execute(
                    "INSERT INTO public.tally VALUES (%s, %s, %s, %s)",
                    (subtask.operation, subtask.entity, subtask.node, subtask.term),
                )
        subtask.progress(units=2, size=10)
        note("end", subtask)
        return SubtaskEnd(SubtaskState.DONE, "", {"number": subtask.argument["number"]})


def note(what: str, subtask) -> None:
    """Append one line: a write of less than a page to a file opened to append is whole."""
    moment = time.clock_gettime(time.CLOCK_BOOTTIME)
    line = f"{subtask.operation} {subtask.entity} {subtask.node} {subtask.term} {what} {moment}\n"
    fd = os.open(os.environ["TALLY_RECORD"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, line.encode())
    finally:
        os.close(fd)
