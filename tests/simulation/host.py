"""A simulated machine: a guardian, its agent and its program, one clock, and what stops them.

The guardian's decisions are coordinator/protocol/guard.py. Here is what the system does for it:
forking, signals, deaths, and how long each takes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from coordinator.protocol import guard
from coordinator.protocol import guard_words as words
from coordinator.protocol.node import Node, Policy, Run
from coordinator.protocol.requests import NodeFacts
from tests.simulation.agent import INHERITED, SIGTERM, Agent
from tests.simulation.history import Ran
from tests.simulation.processes import Call, Process
from tests.simulation.settings import GROUP, NodeSettings

if TYPE_CHECKING:
    from tests.simulation.world import World

#: A process that is woken by a timer wakes up to this much late.
LATE_MAX_S = 0.02
#: A message between guardian and agent takes this long.
CHANNEL_S = 0.0003
#: With LATE_MAX_S and the agent's SECOND_BELT_S within protocol.timing.KILL_BOUND_S.
KILL_MAX_S = 0.175
BELT_KILL_MAX_S = 0.12


class Program:
    """The processes of one run; they stop with their host, and with nothing else."""

    __slots__ = ("key", "let_go", "number", "ran", "session", "term")

    def __init__(self, number: int, term: int, session: str, key: int) -> None:
        self.number, self.term, self.session, self.key = number, term, session, key
        self.let_go = False
        self.ran: Ran | None = None


class Guardian(Process):
    """The guardian process of a host: guard.step, fed and obeyed."""

    __slots__ = ("alarm", "host", "reads", "state")

    def __init__(self, host: Host) -> None:
        super().__init__()
        self.host_frozen = host.frozen
        self.host = host
        self.alarm = float("inf")
        self.reads: Agent | None = None  #: whose socket it has open
        self.state, orders = guard.begin(host.local())
        for order in orders:
            host.obey(self, order)

    def take_in(self, event: words.Event) -> None:
        """Feed the guard and obey it."""
        if not self.alive:
            return
        self.state, orders = guard.step(self.state, event, self.host.local())
        for order in orders:
            self.host.obey(self, order)
        if self.alive:
            moment = guard.due(self.state)
            if moment != self.alarm:
                self.alarm = moment
                if moment != float("inf"):
                    self.host.at_local(moment, self.deliver, self._ring, moment)

    def _ring(self, moment: float) -> None:
        if moment == self.alarm:
            self.alarm = float("inf")
            self.look()

    def look(self) -> None:
        """Read the agent's pings, then see what is due.

        An agent pings all the time; here it does when it matters: before the guardian looks at
        the clock, and before either of them is stopped.
        """
        self.hear_pings()
        self.take_in(words.Ticked())

    def hear_pings(self) -> None:
        """Hear the agent's ping, if both are awake."""
        agent = self.host.agent
        if self.runs and agent is not None and agent.runs and self.state.agent:
            self.take_in(words.Pinged(0))


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
        )
        self.frozen = False
        self.thawing = False
        self.thaw_at = 0.0
        self.guardian: Guardian | None = None
        self.agent: Agent | None = None
        self.program: Program | None = None
        self.forked = Process()  #: the program's own process, as a reader of its mail
        self.sessions: dict[int, str] = {}
        self.cut = ""  #: "" | "both" | "answers": which way to the database is closed
        self.cut_until = 0.0
        self.late_until = 0.0  #: until then the answers of the database come late
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
        if self.guardian is None and self.agent is None:
            self.starts += 1
            self.world.history.note(self.world.now, self.name, "boot")
            self.guardian = Guardian(self)

    def crash(self, down_s: float) -> None:
        """Lose everything at once, as with a power cut."""
        self._lose_guardian()
        if self.agent is not None:
            self.agent.alive = False
            self.agent = None
        self.thaw_now()
        self.after(down_s, self.start)

    def _lose_guardian(self) -> None:
        """The kernel kills the program with its guardian (PDEATHSIG, a closed cgroup)."""
        if self.guardian is not None:
            self.guardian.alive = False
            self.guardian = None
        self._program_dead()

    def crash_guardian(self) -> None:
        """SIGKILL the guardian alone: the agent sees the closed socket."""
        agent = self.agent
        self._lose_guardian()
        if agent is not None:
            self.soon(0.002, agent.deliver, agent.alone, "the guardian died")
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
            self.after(late_s, guardian.deliver, self._read, guardian, agent, words.AgentLost())
        else:
            self._off()

    def _off(self) -> None:
        """Nothing of the node is left: its supervisor starts it again."""
        self.soon(2.0, self.start)

    def freeze(self, for_s: float) -> None:
        """Stop the whole machine, as a suspend or a paused container does; its clock goes on."""
        thaw_at = self.world.now + for_s
        if thaw_at > self.thaw_at:
            self.thaw_at = thaw_at
            self.world.at(thaw_at, self._thaw, thaw_at)
        if not self.frozen:
            if self.guardian is not None:
                self.guardian.hear_pings()
            self._set_frozen(True)
            self._stretch_ends()

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
        self.forked.catch_up()
        self.thawing = False
        if self.program is not None and self.program.let_go:
            self._stretch_begins(self.program)

    def _catch_up(self, process: Guardian | Agent) -> None:
        """A select may show the passed deadline first, or the waiting messages."""
        looks_first = self.world.rng.random() < 0.5
        if looks_first and isinstance(process, Guardian) and process.runs:
            process.take_in(words.Ticked())
        process.catch_up()
        if isinstance(process, Guardian) and process.runs:
            process.look()

    def _set_frozen(self, frozen: bool) -> None:
        self.frozen = frozen
        for process in (self.guardian, self.agent, self.forked):
            if process is not None:
                process.host_frozen = frozen

    def freeze_process(self, process: Guardian | Agent | None, for_s: float) -> None:
        """SIGSTOP one process for a while."""
        if process is None or process.frozen:
            return
        if self.guardian is not None:
            self.guardian.hear_pings()
        process.frozen = True
        self.after(for_s, self._thaw_process, process)
        if isinstance(process, Guardian) and self.agent is not None:
            agent, at = self.agent, self.local() + self.agent.echo_due_s()
            self.at_local(at, agent.deliver, self._miss_echo, agent, process)

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

    def _miss_echo(self, agent: Agent, guardian: Guardian) -> None:
        if guardian.frozen and self.guardian is guardian:
            self._lose_guardian()
            agent.alone("the guardian is frozen")

    # --- the guardian's orders ------------------------------------------------------------------

    def tell_guardian(self, agent: Agent, event: words.Event) -> None:
        """Carry a message of the agent's to the guardian; the socket keeps the order."""
        if self.guardian is not None:
            guardian = self.guardian
            self.after(CHANNEL_S, guardian.deliver, self._read, guardian, agent, event)

    def _read(self, guardian: Guardian, agent: Agent, event: words.Event) -> None:
        """Let the guardian read a message, unless it has closed that agent's socket since."""
        if guardian.reads is agent:
            if isinstance(event, words.AgentLost):
                guardian.reads = None
            guardian.take_in(event)

    def _told(self, guardian: Guardian, most_s: float, event: words.Event) -> None:
        self.soon(most_s, guardian.deliver, guardian.take_in, event)

    def obey(self, guardian: Guardian, order: words.Command) -> None:
        """Do what the guardian orders."""
        match order:
            case words.TellAgent(message):
                agent = self.agent
                if agent is not None:
                    self.after(CHANNEL_S, agent.deliver, agent.hear, message)
            case words.LaunchProgram(start):
                self.world.keys += 1
                session = self.sessions.get(start.run, "")
                self.program = Program(start.run, start.term, session, self.world.keys)
                self._told(guardian, 0.01, words.ProgramReady(start.run, 1, {}))
            case words.LetGo(number, until):
                self.soon(0.004, self.forked.deliver, self._exec, guardian, number, until)
            case words.SignalProgram(number, signum) if signum == SIGTERM:
                program = self.program
                if program is not None and program.number == number and self.settings.obeys_term:
                    self.soon(0.2, self._end_program, guardian, program, -SIGTERM)
            case words.KillProgram():
                self.kill_program(by_agent=False)
            case words.StartAgent(session, _):
                # As agent_main does: a fresh agent after a dead one takes its place.
                first = guardian.state.session is None and not guardian.state.deaths
                legacy = None if first else (session, guardian.state.term, self.program is not None)
                self._new_agent(guardian, legacy, ready_s=0.4)
            case words.PromoteSpare(message):
                legacy = (message["session"], message["term"], message["program"] == "dying")
                self._new_agent(guardian, legacy, ready_s=0.005)
            case words.KillAgent():
                guardian.reads = None
                if self.agent is not None:
                    self.agent.alive = False
                    self.agent = None
            case words.Quit():
                self._lose_guardian()
                self._off()
            case _:
                pass  # the spare, the board, the log

    def _new_agent(
        self, guardian: Guardian, legacy: tuple[str | None, int, bool] | None, ready_s: float
    ) -> None:
        """Start an agent; until it is ready its mail waits in the socket that it was given."""
        self.agents += 1
        policy = Policy(
            node=self.settings.name,
            group=GROUP,
            seed=f"{self.world.settings.seed}/{self.name}/{self.starts}/{self.agents}",
            priority=self.settings.priority,
            on_exit=self.settings.on_exit,
        )
        node = Node(policy=policy, timing=self.settings.timing, run_count=self.agents * 1000)
        if legacy is not None:
            bury, term, dying = legacy
            run = Run(INHERITED, term, self.local(), "the agent died") if dying else None
            node = replace(node, bury=bury, run=run, given_up=term, remembered=term)
        self.agent = guardian.reads = Agent(self, node)
        self.agent.frozen = True
        self.agent.deliver(self.agent.begin)
        self.soon(ready_s, self._thaw_process, self.agent)

    # --- the program ----------------------------------------------------------------------------

    def _exec(self, guardian: Guardian, number: int, until: float) -> None:
        program = self.program
        if program is None or program.number != number or not guardian.alive:
            return
        if self.local() >= until:
            self.program = None
            self._told(guardian, 0.002, words.ProgramRefused(number, "trust is over", 0))
            return
        program.let_go = True
        if not self.thawing:
            self._stretch_begins(program)
        self._told(guardian, 0.002, words.ProgramStarted(number))

    def exit_program(self) -> None:
        """The program ends by itself, perhaps leaving children behind."""
        program, guardian = self.program, self.guardian
        if program is None or guardian is None or not program.let_go or self.frozen:
            return
        if self.settings.leaves_children:
            self._told(guardian, 0.002, words.ProgramEnded(program.number, 1, True))
        else:
            self._end_program(guardian, program, 1)

    def _end_program(self, guardian: Guardian, program: Program, status: int) -> None:
        if self.program is program and not self.frozen:
            self._program_dead()
            self._told(guardian, 0.002, words.ProgramEnded(program.number, status, False))

    def kill_program(self, *, by_agent: bool) -> None:
        """SIGKILL everything of the program; it takes effect after a while."""
        program, guardian = self.program, self.guardian
        if program is None:
            if guardian is not None and guardian.state.run is not None:
                self._told(guardian, 0.002, words.ProgramGone(guardian.state.run.number))
            return
        if self.thawing or not program.let_go:
            self._killed(program)
            return
        most_s = BELT_KILL_MAX_S if by_agent else KILL_MAX_S
        random = self.world.rng.random()
        taken_s = most_s if self.world.settings.slowest_kill else most_s * random**3
        self.after(taken_s, self._killed, program)

    def _killed(self, program: Program) -> None:
        if self.program is not program:
            return
        self._program_dead()
        if self.guardian is not None:
            self._told(self.guardian, 0.002, words.ProgramGone(program.number))

    def _program_dead(self) -> None:
        if self.program is not None:
            self._stretch_ends()
            self.program = None

    def _stretch_begins(self, program: Program) -> None:
        ran = Ran(self.settings.name, program.session, program.term, program.key, self.world.now)
        program.ran = ran
        self.world.history.runs.append(ran)
        self.world.history.note(self.world.now, self.name, "runs", program.term, program.key)

    def _stretch_ends(self) -> None:
        program = self.program
        if program is not None and program.ran is not None:
            program.ran.end = self.world.now
            program.ran = None
            self.world.history.note(self.world.now, self.name, "rests", program.term)
