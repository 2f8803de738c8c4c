"""A simulated machine: guardian, agent, spare and programs, one clock, and what stops them.

The guardian's decisions are coordinator/protocol/guardian/machine.py. Here is what the system does
for it: forking, signals, deaths, and how long each takes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from coordinator.protocol.guardian import events as words
from coordinator.protocol.messages.requests import NodeFacts
from coordinator.protocol.node.state.node import Node, Policy, succeeding
from coordinator.protocol.node.state.tasks import TaskState
from tests.simulation.world.agent import Agent
from tests.simulation.world.guardian import CHANNEL_S, Guardian
from tests.simulation.world.processes import LATE_MAX_S, Call
from tests.simulation.world.programs import Programs
from tests.simulation.world.settings import GROUP, NodeSettings
from tests.simulation.world.spare import Spare

#: Seconds after which a start that has to wait is tried again.
LOOK_AGAIN_S = 0.1

if TYPE_CHECKING:
    from tests.simulation.world.world import World


class Host:
    """One machine of a world."""

    def __init__(self, world: World, settings: NodeSettings) -> None:
        self.world, self.settings = world, settings
        self.name = settings.label
        self.facts = NodeFacts(
            node=settings.name,
            group=GROUP,
            liveness_s=settings.timing.liveness_s,
            heartbeat_s=settings.timing.heartbeat_s,
            lease_s=settings.timing.lease_s,
            priority=settings.priority,
            hosts_tasks=world.settings.observer_policy is not None,
        )
        self.frozen = False
        self.thawing = False
        self.thaw_at = 0.0
        self.guardian: Guardian | None = None
        self.agent: Agent | None = None
        self.spare: Spare | None = None
        self.deadlines: dict[int, float] = {}  #: by run; what the guardian shows agent and spare
        self.programs = Programs(self)
        self.cut = ""  #: "" | "both" | "answers": which way to the database is closed
        self.cut_until = 0.0
        self.away_until = 0.0  #: nobody starts this machine before that
        self.late_until = 0.0  #: the answers of the database come late before that
        self.starts = 0
        self.agents = 0

    # --- time -----------------------------------------------------------------------------------

    def local(self) -> float:
        """Return what this machine's clock says."""
        return self.settings.offset_s + self.world.now * self.settings.rate

    def true(self, moment: float) -> float:
        """Return the true time at which this machine's clock shows the moment."""
        return (moment - self.settings.offset_s) / self.settings.rate

    def at_local(self, moment: float, call: Call, *args: Any) -> None:
        """Call when this machine's clock shows the moment, a little late as timers are."""
        late_s = 1e-6 + LATE_MAX_S * self.world.rng.random() ** 3
        self.world.at(max(self.true(moment), self.world.now) + late_s, call, *args)

    def after(self, delay_s: float, call: Call, *args: Any) -> None:
        """Call after some true time."""
        self.world.at(self.world.now + delay_s, call, *args)

    def soon(self, most_s: float, call: Call, *args: Any) -> None:
        """Call within so much true time."""
        self.world.at(self.world.now + most_s * self.world.rng.random(), call, *args)

    # --- life and death -------------------------------------------------------------------------

    def start(self) -> None:
        """Boot: a supervisor starts the guardian, which starts the rest."""
        if self.world.now < self.away_until:
            self.world.at(self.away_until, self.start)
        elif self.world.keeper is not None and self.world.now < self.world.calm_at:
            self.after(LOOK_AGAIN_S, self.start)  # it would know nothing of what is to be told
        elif self.guardian is None and self.agent is None:
            self.starts += 1
            self.world.history.note(self.world.now, self.name, "boot")
            self.guardian = Guardian(self)

    def crash(self, down_s: float) -> None:
        """Lose everything at once, as with a power cut."""
        self._lose_guardian()
        if self.agent is not None:
            self.agent.alive = False
            self.agent = None
        self._lose_spare()
        self.thaw_now()
        self.after(down_s, self.start)

    def _lose_guardian(self) -> None:
        """The kernel kills the program with its guardian (PDEATHSIG, a closed cgroup)."""
        if self.guardian is not None:
            self.guardian.alive = False
            self.guardian = None
        self.programs.dead()

    def _lose_spare(self) -> None:
        if self.spare is not None:
            self.spare.alive = False
            self.spare = None

    def end_frozen_guardian(self, spare: Spare) -> None:
        """Be ended by the spare, which has killed what the guardian should have killed long ago."""
        guardian, agent = self.guardian, self.agent
        if self.spare is not spare or guardian is None or not guardian.frozen:
            return
        self._lose_guardian()
        if agent is not None:
            agent.deliver(agent.guardian_died)
        else:
            self._off()

    def crash_guardian(self) -> None:
        """SIGKILL the guardian alone: the agent sees the closed socket."""
        agent = self.agent
        self._lose_guardian()
        if agent is not None:
            self.soon(0.002, agent.deliver, agent.guardian_died)
        else:
            self._off()

    def crash_agent(self) -> None:
        """SIGKILL the agent alone: the guardian sees the closed socket."""
        if self.agent is not None:
            self.lose_agent(self.agent)

    def lose_agent(self, agent: Agent) -> None:
        """Take notice that an agent process ended."""
        agent.alive = False
        if self.agent is agent:
            self.agent = None
        if self.guardian is not None:
            guardian = self.guardian
            late_s = CHANNEL_S + 0.002 * self.world.rng.random()  # after all that it had said
            self.after(late_s, guardian.deliver, guardian.read, agent, words.AgentLost())
        else:
            self._off()

    def _off(self) -> None:
        """Note that nothing of the node is left: its supervisor starts it again."""
        self._lose_spare()
        self.soon(2.0, self.start)

    def freeze(self, for_s: float) -> None:
        """Stop the whole machine, as a suspend or a paused container does; its clock goes on."""
        thaw_at = self.world.now + for_s
        if thaw_at > self.thaw_at:
            self.thaw_at = thaw_at
            self.world.at(thaw_at, self._thaw, thaw_at)
        if not self.frozen:
            self._set_frozen(True)
            self.programs.rest()

    def _thaw(self, thaw_at: float) -> None:
        if self.frozen and thaw_at == self.thaw_at:
            self.thaw_now()

    def thaw_now(self) -> None:
        """Go on: the guardian acts before the program gets anywhere."""
        if not self.frozen:
            return
        self._set_frozen(False)
        self.thawing = True
        first = [self.guardian, self.agent]
        for process in first:
            if process is not None:
                self._catch_up(process)
        if self.spare is not None:
            self.spare.catch_up()
        self.programs.forked.catch_up()
        self.thawing = False
        self.programs.go_on()

    def _catch_up(self, process: Guardian | Agent) -> None:
        """A select may show the passed deadline first, or the waiting messages."""
        looks_first = self.world.rng.random() < 0.5
        if looks_first and isinstance(process, Guardian) and process.runs:
            process.take_in(words.Ticked())
        process.catch_up()
        if isinstance(process, Guardian) and process.runs:
            process.take_in(words.Ticked())

    def _set_frozen(self, frozen: bool) -> None:
        self.frozen = frozen
        for process in (self.guardian, self.agent, self.spare, self.programs.forked):
            if process is not None:
                process.host_frozen = frozen

    def freeze_process(self, process: Guardian | Agent | None, for_s: float) -> None:
        """SIGSTOP one process for a while."""
        if process is None or process.frozen:
            return
        process.frozen = True
        self.after(for_s, self._thaw_process, process)

    def thaw_processes(self) -> None:
        """SIGCONT whatever was stopped."""
        for process in (self.guardian, self.agent):
            if process is not None and process.frozen:
                self._thaw_process(process)

    def mend(self) -> None:
        """The way to the database is open again, unless it was closed anew meanwhile."""
        if self.world.now >= self.cut_until:
            self.cut = ""

    def signal(self, signum: int) -> None:
        """Send a signal to the guardian, as a person or a supervisor does."""
        if self.guardian is not None:
            self.guardian.deliver(self.guardian.take_in, words.SignalArrived(signum))

    def _thaw_process(self, process: Guardian | Agent) -> None:
        process.frozen = False
        if process.runs:
            self._catch_up(process)

    def end_guardian_of(self, agent: Agent) -> None:
        """Be killed by the agent that lost its guardian: it must not wake up and start anything."""
        if self.guardian is not None and self.guardian.reads is agent:
            self._lose_guardian()

    def shown(self, runs: Iterable[int]) -> dict[int, float]:
        """Return what the guardian shows of these runs; it drops one of which nothing is left."""
        there = self.deadlines.keys() & self.programs.alive.keys()
        return {run: self.deadlines[run] for run in runs if run in there}

    # --- agents ---------------------------------------------------------------------------------

    def tell_guardian(self, agent: Agent, event: words.Event) -> None:
        """Carry a message of the agent's to the guardian; the socket keeps the order."""
        if self.guardian is not None:
            guardian = self.guardian
            self.after(CHANNEL_S, guardian.deliver, guardian.read, agent, event)

    def new_spare(self, knows: set[int], ready_s: float) -> None:
        """Have a spare in a moment; it knows what the process knew of which it is a copy."""
        self._lose_spare()
        self.spare = spare = Spare(self, knows)
        spare.frozen = True
        spare.deliver(spare.wait)
        self.soon(ready_s, self._spare_ready, spare)

    def _spare_ready(self, spare: Spare) -> None:
        spare.frozen = False
        if spare.runs:
            spare.catch_up()

    def new_agent(
        self,
        legacy: tuple[str | None, int, bool] | None,
        ready_s: float,
        knows: set[int] = frozenset(),  # type: ignore[assignment]
    ) -> Agent:
        """Start an agent; until it is ready its mail waits in the socket that it was given.

        legacy: the session and the term that a dead one left, and whether its program still dies.
        knows:  the runs that it can kill, because it was the spare.
        """
        self.agents += 1
        policy = Policy(
            node=self.settings.name,
            group=GROUP,
            seed=f"{self.world.settings.seed}/{self.name}/{self.starts}/{self.agents}",
            priority=self.settings.priority,
            prepares=self.world.settings.gates,
            on_exit=self.settings.on_exit,
            hung=self.world.settings.hung,
            hooks=self.world.settings.hooks,
            observer_policy=self.world.settings.observer_policy,
        )
        node = Node(
            policy=policy,
            timing=self.settings.timing,
            run_count=self.agents * 1000,
            task_state=None if policy.observer_policy is None else TaskState(),
        )
        if legacy is not None:
            session, term, dying = legacy
            node = succeeding(node, session, term, self.local(), dying=dying)
        self.agent = agent = Agent(self, node, knows)
        agent.frozen = True
        agent.deliver(agent.begin)
        self.soon(ready_s, self._thaw_process, agent)
        return agent

    def agent_killed(self) -> None:
        """Lose the agent to its guardian's SIGKILL."""
        if self.agent is not None:
            self.agent.alive = False
            self.agent = None

    def quit(self) -> None:
        """End the node in order; its supervisor starts it again."""
        self._lose_guardian()
        self._off()
