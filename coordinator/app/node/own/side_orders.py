"""Orders to start a side run, under the variables of its holding: a check, a hook, a one-off."""

from __future__ import annotations

from coordinator.app.config.settings import NodeSettings, by_key
from coordinator.app.node.program_orders import database, holding
from coordinator.protocol.node.events import StartProgram
from coordinator.protocol.node.state.side_runs import Kind
from coordinator.runtime.agent.guardian_link import Orders
from coordinator.runtime.linux import interpreter

#: A check or a hook is killed at its deadline, without a SIGTERM before it.
STOP_TIMEOUT_S = 0.0
#: Process that becomes the command of a one-off.
LAUNCHER = "coordinator.app.node.one_off.launcher"


def side_orders(settings: NodeSettings, command: StartProgram, session: str) -> Orders:
    """Return the orders of a side run."""
    env = {**holding(settings, command.term, session), **dict(command.env)}
    kind = Kind(command.side)
    if kind is Kind.ONE_OFF:
        unset = database(settings, env)
        env["COORD_ONE_OFF_UNSET"] = " ".join(unset)
        return Orders(tuple(interpreter.command(LAUNCHER)), env, unset, None)
    if kind is not Kind.HEALTH:
        env["COORD_HOOK"] = kind.value
    unset = database(settings, env)
    cwd = None if settings.program is None else settings.program.cwd
    argv = _health(settings) if kind is Kind.HEALTH else _hook(settings, kind)
    return Orders(argv, env, unset, cwd, stop_timeout_s=STOP_TIMEOUT_S)


def _hook(settings: NodeSettings, kind: Kind) -> tuple[str, ...]:
    argv = by_key(settings)[f"hooks.{kind.value}"]
    assert isinstance(argv, tuple), "only a configured hook is ordered"
    return argv


def _health(settings: NodeSettings) -> tuple[str, ...]:
    health = settings.health
    assert health is not None, "only a configured health check is ordered"
    if health.argv is not None:
        return health.argv
    assert health.url is not None, "a health check has a command or a URL"
    module, timeout_s = "coordinator.app.node.own.http_check", repr(health.timeout_s)
    return tuple(interpreter.command(module, health.url, timeout_s))
