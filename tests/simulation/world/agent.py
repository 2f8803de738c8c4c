"""A simulated agent: the real machine, fed and obeyed as coordinator/runtime does it.

The courier is modelled after runtime/agent/courier.py (one request under way, given up after
a while, its late answer dropped and its statement perhaps still to come), the line to the
guardian after runtime/agent/guardian_link.py (second belt at the deadline, a frozen guardian is
killed).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from coordinator.protocol.guardian import events as words
from coordinator.protocol.messages.requests import Answer, Request, View
from coordinator.protocol.node import machine
from coordinator.protocol.node.events import (
    EVERY_RUN,
    Answered,
    Ask,
    Command,
    Event,
    ExtendTrust,
    Failed,
    Finish,
    KillProgram,
    Notified,
    ProgramEnded,
    ProgramProgressed,
    ProgramRefused,
    ProgramStopping,
    Reconnect,
    ResignAsked,
    StartProgram,
    StopAsked,
    StopProgram,
    Ticked,
)
from coordinator.protocol.node.next_request import patience_s
from coordinator.protocol.node.state.node import Node
from coordinator.protocol.rules import backstops
from coordinator.store.node.heartbeat import QUICK_SHARE
from coordinator.store.sql.view import is_held
from tests.simulation.world.line import Line, Question
from tests.simulation.world.processes import Process
from tests.simulation.world.programs import Ordered

if TYPE_CHECKING:
    from tests.simulation.world.host import Host

#: As in runtime/agent/guardian_link.py.
SECOND_BELT_S = 0.05
ECHO_SHARE = 0.4
ECHO_MAX_S = 1.5
PING_S = 0.1
IDLE_PING_SHARE, IDLE_SLACK_SHARE = 1 / 4, 1 / 8
PINGS_PER_LIMIT = 5
INHERITED = -1
SIGTERM, SIGINT, SIGUSR1 = 15, 2, 10


@dataclass(slots=True)
class Started:
    """A run that was ordered and has not ended.

    known:    the guardian said how to kill it.
    stopping: its deadline moves no more.
    """

    number: int
    trusted_until: float
    stop_timeout_s: float
    known: bool = False
    stopping: bool = False


class Agent(Process):
    """One agent process of a host."""

    __slots__ = ("alarm", "asked", "host", "line", "lost", "node", "ordered", "told", "under_way")

    def __init__(self, host: Host, node: Node, knows: Iterable[int] = ()) -> None:
        super().__init__()
        self.host_frozen = host.frozen
        self.host = host
        self.node = node
        self.line: Line | None = None
        self.asked = 0
        self.under_way: tuple[int, Request] | None = None
        self.alarm = float("inf")
        self.told: tuple[str | None, int] = (None, 0)
        self.lost = ""  #: why it has no guardian any more
        self.ordered: dict[int, Started] = {}
        if node.run is not None:
            until = host.local() + node.timing.lease_s
            self._started(INHERITED, until, node.timing.stop_timeout_s).stopping = True
            for run in knows:
                self._set_left(run)

    def begin(self) -> None:
        """Greet the guardian and take the first step."""
        timing = self.node.timing
        self._say(words.Greeted(timing.liveness_s, timing.stop_timeout_s))
        self.take_in(Ticked(self.host.local()))

    def take_in(self, event: Event) -> None:
        """Feed the machine and obey it."""
        if not self.alive:
            return
        self.node, commands = machine.step(self.node, event)
        for command in commands:
            self._obey(command)
        self._tell_session()
        if self.alive:
            self._set_alarm()

    def _set_alarm(self) -> None:
        moment = machine.wake_at(self.node, self.host.local())
        if moment != self.alarm:
            self.alarm = moment
            if moment != float("inf"):
                self.host.at_local(moment, self.deliver, self._ring, moment)

    def _ring(self, moment: float) -> None:
        if moment == self.alarm:
            self.alarm = float("inf")
            self.take_in(Ticked(self.host.local()))

    def _obey(self, command: Command) -> None:
        match command:
            case Ask(request):
                self._ask(request)
            case ExtendTrust(number, until):
                self._extend(number, until)
            case StartProgram():
                self._start(command)
            case StopProgram(number):
                run = self.ordered.get(number)
                stop_s = self.node.timing.stop_timeout_s if run is None else run.stop_timeout_s
                self._say(words.StopOrdered(number, stop_s))
            case KillProgram(number):
                self._stopping(number)
                self._say(words.KillOrdered(number))
            case Reconnect():
                self.line = None
            case Finish(code):
                self._say(words.ExitOrdered(code))
                self.host.lose_agent(self)
            case _:
                pass  # a Report

    # --- the courier ----------------------------------------------------------------------------

    def _ask(self, request: Request) -> None:
        self.asked += 1
        number = self.asked
        self.under_way = (number, request)
        due = self.host.local() + patience_s(self.node, self.host.local())
        self.host.at_local(due, self.deliver, self._give_up, number)
        if self.line is None:
            self._connect(number, request)
        else:
            self._send(number, request)

    def _connect(self, number: int, request: Request) -> None:
        delay_s = self.host.world.way_s(self.host, "question")
        if delay_s is not None:
            self.host.after(3 * delay_s, self.deliver, self._connected, number, request)

    def _connected(self, number: int, request: Request) -> None:
        if self.under_way is None or self.under_way[0] != number:
            return
        server = self.host.world.server
        if server.up:
            self.line = self.host.world.line(self.host)
            self._send(number, request)
        elif not server.silent:
            self._broken(number)

    def _send(self, number: int, request: Request) -> None:
        world, line = self.host.world, self.line
        assert line is not None
        question = Question(number, request, line, line.taken_as_known(request), self.host.local())
        delay_s = world.way_s(self.host, "question")
        if delay_s is not None:
            stalled_s = world.stalling.pop(type(request).__name__, 0.0)
            delay_s += min(stalled_s, max(0.0, world.calm_at - world.now))
            self.host.after(delay_s, self._carried_out, question)

    def _carried_out(self, question: Question) -> None:
        """At the server, whatever has become of the node and its connection meanwhile."""
        world, known = self.host.world, question.known
        if known is None or not is_held(known):
            answer = world.carry_out(self.host, question.line.life, question.request)
            self._sent_back(question, answer)
        elif not self._watched(question, known):
            # Nothing was written: it is asked again, for everything.
            back_s, again_s = world.way_s(self.host, "answer"), world.way_s(self.host, "question")
            if back_s is not None and again_s is not None:
                again = replace(question, known=None)
                self.host.after(back_s + again_s, self._carried_out, again)

    def _watched(self, question: Question, known: View) -> bool:
        """Write a heartbeat if the holder's session lives, and show of it what that tells."""
        server, facts, life = self.host.world.server, self.host.facts, question.line.life
        seen = server.session_of(facts, life, known.token.node)
        if seen is None or seen.ended or seen.session != known.token.session:
            return False
        answer = self.host.world.carry_out(self.host, life, question.request)
        seen = server.session_of(facts, life, known.token.node)
        if answer is None or seen is None or not answer.done:
            return False
        self._sent_back(question, replace(answer, view=replace(known, holder=seen)))
        return True

    def _sent_back(self, question: Question, answer: Answer | None) -> None:
        world = self.host.world
        delay_s = world.way_s(self.host, "answer")
        if delay_s is None:
            return
        if answer is None:
            self.host.after(delay_s, self.deliver, self._broken, question.number)
        else:
            # What the server has notified of before it answers comes before the answer.
            heard = question.line.news
            self.host.after(delay_s, self.deliver, self._answered, question, answer, heard)

    def _answered(self, question: Question, answer: Answer, heard: bool) -> None:
        if self.under_way is None or self.under_way[0] != question.number:
            return
        self.under_way = None
        line, now = question.line, self.host.local()
        heard = heard or line.due
        line.news, line.due = line.news and not heard, False
        quick = now - question.sent_at <= self.node.timing.attempt_s * QUICK_SHARE
        line.view = answer.view if quick and not heard else None
        self.take_in(Answered(now, question.request, answer, question.sent_at))
        if heard and self.line is line:
            self.take_in(Notified(now))

    def _broken(self, number: int) -> None:
        if self.under_way is not None and self.under_way[0] == number:
            self._fail("the connection broke")

    def _give_up(self, number: int) -> None:
        if self.under_way is not None and self.under_way[0] == number:
            self._fail("no answer in time")

    def _fail(self, why: str) -> None:
        assert self.under_way is not None
        request = self.under_way[1]
        self.line, self.under_way = None, None
        self.take_in(Failed(self.host.local(), request, why))

    def hung_up(self, line: Line, raced: bool) -> None:
        """Hear that the server closed the connection; `raced`: while a new request set out."""
        if self.line is not line:
            return
        self.line = None
        before = self.under_way
        if before is None or raced:
            self.take_in(Failed(self.host.local(), None, "the server closed the connection"))
            if before is not None and self.under_way is before:
                self._connect(*before)
        else:
            self._fail("the server closed the connection")

    def notified(self) -> None:
        """Hear the database's push; it never overtakes an answer that was sent before it."""
        if self.line is not None and self.line.news:
            self.line.due = self.under_way is not None
            if not self.line.due:
                self.line.news, self.line.view = False, None
                self.take_in(Notified(self.host.local()))

    # --- the line to the guardian ---------------------------------------------------------------

    def _started(self, number: int, until: float, stop_s: float) -> Started:
        self.ordered[number] = run = Started(number, until, stop_s)
        return run

    def _stopping(self, number: int) -> Started | None:
        run = self.ordered.get(number)
        if run is not None:
            run.stopping = True
        return run

    def _start(self, command: StartProgram) -> None:
        """Order a start, as runtime/agent/guardian_link.py and app/node/tasks.py do."""
        node, stop_s, progress_s = self.node, self.node.timing.stop_timeout_s, 0.0
        if command.task and node.duties is not None:
            definition = node.duties.works[command.task].definition
            stop_s, progress_s = definition.stop_timeout_s or stop_s, definition.progress_s
        self._started(command.run, command.trusted_until, stop_s)
        until = self.host.true(node.trusted_until)
        ordered = Ordered(node.session or "", until, progress_s)
        self.host.programs.ordered[command.run] = ordered
        order = words.StartOrdered(command.run, command.term, command.trusted_until, stop_s)
        last_stop_s = node.timing.last_stop_s(stop_s)
        order = order._replace(task=command.task, start_by=command.start_by)
        self._say(order._replace(last_stop_s=last_stop_s))

    def _extend(self, number: int, until: float) -> None:
        for run in self.ordered.values():
            if number in (run.number, EVERY_RUN) and not run.stopping:
                run.trusted_until = max(run.trusted_until, until)
        if self.node.session is not None:
            self.host.programs.extended(self.node.session, self.host.true(until))
        self._say(words.ExtendOrdered(number, until))

    def progressed(self, number: int) -> None:
        """Hear that a program gets on with its work."""
        self.take_in(ProgramProgressed(self.host.local(), number))

    def _say(self, event: words.Event) -> None:
        if not self.lost:
            self.host.tell_guardian(self, event)

    def _tell_session(self) -> None:
        term = self.node.run.term if self.node.run else 0
        if (self.node.session, term) != self.told:
            self.told = (self.node.session, term)
            self._say(words.SessionTold(self.node.session, term))

    def hear(self, message: dict[str, Any]) -> None:
        """Understand one message of the guardian."""
        now = self.host.local()
        match message:
            case {"say": "started", "run": number}:
                run = self.ordered.get(number)
                if run is not None:
                    run.known = True
                    self._set_belt(run)
            case {"say": "refused", "run": number, "why": why, "code": code}:
                self.ordered.pop(number, None)
                self.take_in(ProgramRefused(now, number, why, code))
            case {"say": "stopping", "run": number}:
                self._stopping(number)
                self.take_in(ProgramStopping(now, number))
            case {"say": "ended", "run": number, "status": status, "why": why, "at": at}:
                number = INHERITED if number == EVERY_RUN else number
                self.ordered.pop(number, None)
                self.take_in(ProgramEnded(now, number, status, why, at=at))
            case {"say": "signal", "signum": signum}:
                if signum in (SIGTERM, SIGINT):
                    self.take_in(StopAsked(now, "signal"))
                elif signum == SIGUSR1:
                    self.take_in(ResignAsked(now, "SIGUSR1"))
            case _:
                pass  # an echo

    def _set_belt(self, run: Started) -> None:
        self.host.at_local(run.trusted_until + SECOND_BELT_S, self.deliver, self._belt, run)

    def _belt(self, run: Started) -> None:
        """Kill the program when its deadline has passed without a word of the guardian."""
        if self.ordered.get(run.number) is not run:
            return
        if self.host.local() >= run.trusted_until + SECOND_BELT_S:
            self.host.programs.kill(run.number, by_agent=True)
        else:
            self._set_belt(run)

    def _set_left(self, run: int) -> None:
        if run in self.host.deadlines and run in self.host.programs.alive:
            moment = backstops.look_at({run: self.host.deadlines[run]})
            self.host.at_local(moment, self.deliver, self._kill_left, run)

    def _kill_left(self, run: int) -> None:
        """Kill what a dead agent has left, when the guardian is late with it."""
        if INHERITED not in self.ordered or run not in self.host.programs.alive:
            return
        if backstops.late({run: self.host.deadlines[run]}, self.host.local()):
            self.host.programs.kill(run, by_agent=True)
        else:
            self._set_left(run)

    def echo_due_s(self) -> float:
        """Return how long after its guardian froze this agent will know, on its own clock."""
        timing = self.node.timing
        limit_s = min(ECHO_MAX_S, ECHO_SHARE * timing.lease_s)
        ping_s = max(PING_S, limit_s / PINGS_PER_LIMIT)
        idle_s = timing.liveness_s * (IDLE_PING_SHARE + IDLE_SLACK_SHARE)
        return limit_s + (ping_s if self.ordered else idle_s)

    def alone(self, why: str) -> None:
        """Live on without a guardian: kill the program, release, and end."""
        if self.lost:
            return
        self.lost = why
        runs, self.ordered = self.ordered, {}
        self.take_in(StopAsked(self.host.local(), why, 1))
        for number in runs:
            self.take_in(ProgramEnded(self.host.local(), number, -9, "killed"))
