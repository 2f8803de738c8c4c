"""Changes of an operator to a task group's record, and whom a fault of such a group meets."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from coordinator.protocol.messages.group_record import TaskDef
from tests.simulation.group.settings import draw_policy, draw_task
from tests.simulation.group.stories import WORKER
from tests.simulation.plans.stories import Fault
from tests.simulation.world.settings import GROUP
from tests.support.fakes import memory_operator as operator

if TYPE_CHECKING:
    from tests.simulation.world.host import Host
    from tests.simulation.world.world import World

#: An operator whose command failed tries again after this.
AGAIN_S = 0.5


def begin(world: World) -> None:
    """Define the tasks that the group begins with."""
    for task in world.settings.tasks:
        operator.define(world.server.database, GROUP, task)


def to_the_record(world: World, fault: Fault) -> bool:
    """Change the record as the fault's kind says, as soon as the database answers."""
    if not world.server.up:
        if world.now < world.calm_at:
            world.at(world.now + AGAIN_S, _again, world, fault)
        return False
    database, rng = world.server.database, world.rng
    there = {task: row.definition for (_, task), row in database.tasks.items() if not row.deleted}
    names = [node.name for node in world.settings.nodes]
    if fault.kind in ("suspend", "resume"):
        operator.suspend(database, GROUP, suspended=fault.kind == "suspend")
    elif fault.kind == "policy":
        operator.set_policy(database, GROUP, draw_policy(rng))
    elif fault.kind == "add" or not there:
        known = sorted({task for _, task in database.tasks} - set(there))
        name = rng.choice([*known, f"t{len(database.tasks)}"])
        operator.define(database, GROUP, replace(draw_task(rng, name, names), enabled=True))
    else:
        _change(world, fault.kind, there[rng.choice(sorted(there))], names)
    world.note_repeatable()
    world.push_all()
    return True


def _again(world: World, fault: Fault) -> None:
    to_the_record(world, fault)


def _change(world: World, kind: str, task: TaskDef, names: list[str]) -> None:
    database, rng = world.server.database, world.rng
    match kind:
        case "change":
            changed = replace(task, spec=f'{{"n":{rng.randrange(1000)}}}')
            operator.define(database, GROUP, changed)
        case "move":
            moved = replace(task, preferred=rng.choice(names), nodes=(), failback=True)
            operator.define(database, GROUP, moved)
        case "disable" | "enable":
            operator.enable(database, GROUP, task.name, enabled=kind == "enable")
        case "delete":
            operator.delete(database, GROUP, task.name)
        case _:
            raise AssertionError(kind)


def target(world: World, kind: str) -> Host | None:
    """Return a node that runs tasks and does not observe, or any that runs; None: nobody does."""
    busy = [host for host in world.hosts if host.programs.running]
    observer = world.holder()
    workers = [host for host in busy if host is not observer] or busy
    if kind != WORKER or not workers:
        return None
    return world.rng.choice(workers)
