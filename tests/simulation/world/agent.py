"""A simulated agent: the real machine and the real watches, fed and obeyed in virtual time.

What they decide is coordinator/protocol. Here is what a process does beside that: one request under
way, given up after a while, its late answer dropped and its statement perhaps still to come; and a
socket to the guardian.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from coordinator.protocol.guardian import events as words
from coordinator.protocol.guardian import wire
from coordinator.protocol.messages.requests import (
    Answer,
    Beat,
    Join,
    NodeSeen,
    Request,
    Take,
    View,
)
from coordinator.protocol.messages.task_requests import TakeTasks
from coordinator.protocol.node import machine
from coordinator.protocol.node.events import (
    Answered,
    Ask,
    Command,
    Event,
    ExtendTrust,
    Failed,
    Finish,
    KillProgram,
    Notified,
    OpenGate,
    PrepareProgram,
    ProgramEnded,
    ProgramProgressed,
    Reconnect,
    StartProgram,
    StopAsked,
    StopProgram,
    Ticked,
)
from coordinator.protocol.node.next_request import patience_s
from coordinator.protocol.node.state.guardian_watch import GuardianWatch, start_order
from coordinator.protocol.node.state.last_seen import seen_again
from coordinator.protocol.node.state.node import Node
from coordinator.protocol.node.state.side_runs import Kind
from coordinator.protocol.node.state.state_loads import StateLoads
from coordinator.protocol.node.tasks.start_stop import stop_timeout_s
from coordinator.protocol.rules.timing import MISSED_MAX
from tests.simulation.planned import witness
from tests.simulation.world import gates, states
from tests.simulation.world.line import Line, Question
from tests.simulation.world.processes import Process
from tests.simulation.world.programs import Ordered

if TYPE_CHECKING:
    from tests.simulation.world.host import Host
    from tests.simulation.world.states import Read


def same_interval(known: View, seen: NodeSeen) -> bool:
    """Say whether a holder's row shows the interval that a connection knows (rule O6)."""
    return known.holder is not None and seen.liveness_s == known.holder.liveness_s


class Agent(Process):
    """One agent process of a host."""

    __slots__ = (
        "acknowledged_at",
        "alarm",
        "asked",
        "early",
        "host",
        "knows",
        "line",
        "loads",
        "node",
        "under_way",
        "watch",
        "watch_alarm",
        "watched",
    )

    def __init__(self, host: Host, node: Node, knows: Iterable[int] = ()) -> None:
        super().__init__()
        self.host_frozen = host.frozen
        self.host = host
        self.node = node
        self.line: Line | None = None
        self.asked = 0
        self.under_way: tuple[int, Request] | None = None
        self.loads = StateLoads(timing=node.timing)
        self.early: list[Read] = []  #: states that were read beside a take
        self.alarm = float("inf")
        self.acknowledged_at = float("-inf")  #: sending of the last heartbeat that was answered
        self.watch = GuardianWatch(timing=node.timing, ping_at=host.local())
        self.watch_alarm = float("inf")
        self.watched: GuardianWatch | None = None  #: as it was after its last tick
        self.knows: frozenset[int] = frozenset()  #: runs of dead agents that it can kill
        if node.run is not None:
            self.watch = self.watch.after_inheriting(host.local())
            self.knows = frozenset(knows)

    def begin(self) -> None:
        """Greet the guardian and take the first step."""
        timing = self.node.timing
        self.say(words.Greeted(timing.liveness_s, timing.stop_timeout_s))
        self.take_in(Ticked(self.host.local()))

    def take_in(self, event: Event) -> None:
        """Feed the machine and obey it."""
        if not self.alive:
            return
        self.node, commands = machine.step(self.node, event)
        self.host.world.history.witnessed += witness.working(self.node, self.host.world.now)
        for command in commands:
            self._obey(command)
        self._tell_session()
        self._watch_guardian()
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
            case PrepareProgram():
                gates.prepare(self, command)
            case OpenGate():
                gates.order_opening(self, command)
            case StopProgram(number) | KillProgram(number) if number in self.loads.runs:
                self.loads, refused = self.loads.after_end(number, self.host.local())
                self.host.after(0.0, self.deliver, self.take_in, refused)
            case StopProgram(number):
                self.say(words.StopOrdered(number, self.watch.stop_timeout_s(number)))
            case KillProgram(number):
                self.watch = self.watch.after_stopping(number)
                self.say(words.KillOrdered(number))
            case Reconnect():
                self.line = None
            case Finish(code):
                self.say(words.ExitOrdered(code))
                self.host.lose_agent(self)
            case _:
                pass  # a Report

    # --- the courier ----------------------------------------------------------------------------

    def _ask(self, request: Request) -> None:
        self.asked += 1
        if isinstance(request, Take) and self.host.world.settings.saves_states:
            states.read_early(self)
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
        """Carry a request out at the server, whatever has become of node and connection."""
        world, known = self.host.world, question.known
        if known is None:
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
        if not same_interval(known, seen):
            return False
        answer = self.host.world.carry_out(self.host, life, question.request)
        seen = server.session_of(facts, life, known.token.node)
        if answer is None or seen is None or not answer.done:
            return False
        self._sent_back(question, replace(answer, view=seen_again(known, seen.beat, seen.age_s)))
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
        if heard:
            line.notice()
        if answer.done and isinstance(question.request, Join | Beat | Take | TakeTasks):
            self.acknowledged_at = max(self.acknowledged_at, question.sent_at)
        took_share = (now - question.sent_at) / self.node.timing.attempt_s
        line.seen = line.seen.after_answer(answer.view, took_share)
        self.take_in(Answered(now, question.request, answer, question.sent_at))
        self._hear_database(line)

    def _hear_database(self, line: Line) -> None:
        if self.line is line and line.heard():
            self.take_in(Notified(self.host.local()))

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
            self.line.notice()
            if self.under_way is None:
                self._hear_database(self.line)

    # --- the line to the guardian ---------------------------------------------------------------

    def _start(self, command: StartProgram) -> None:
        """Order a start, after the state of its token was read where programs have one."""
        if command.side or not self.host.world.settings.saves_states:
            self.order_start(command)
            return
        self.loads = self.loads.after_order(command)
        states.read(self, command, self.node.session or "")

    def order_start(self, command: StartProgram) -> None:
        """Order a start, and judge it: nothing starts on trust that is not fresh (rule T5)."""
        node, stop_s = self.node, self.node.timing.stop_timeout_s
        hung = node.policy.hung
        progress_s, is_checked = hung.progress_s, hung.health is not None
        if command.side:
            stop_s = stop_s if command.side == Kind.ONE_OFF else 0.0
            progress_s, is_checked = 0.0, False
        if command.task and node.task_state is not None:
            definition = node.task_state.works[command.task].definition
            stop_s, progress_s = stop_timeout_s(node, definition), definition.progress_s
        number, now = command.run, self.host.local()
        if (
            command.side in ("", Kind.ONE_OFF)
            and now >= self.acknowledged_at + MISSED_MAX * node.timing.heartbeat_s
        ):
            told = f"stale: at {self.host.world.now:.3f} {self.host.name} started run {number}"
            self.host.world.history.witnessed.append(f"{told} after {MISSED_MAX} missed renewals")
        self.watch = self.watch.after_start(number, command.trusted_until, stop_s, now)
        until = self.host.true(node.trusted_until)
        ordered = Ordered(node.session or "", until, progress_s, is_checked)
        self.host.programs.ordered[command.run] = ordered
        self.say(start_order(command, node.timing, stop_s))

    def _extend(self, number: int, until: float) -> None:
        self.loads = self.loads.after_extension(number, until)
        self.watch = self.watch.after_extension(number, until)
        if self.node.session is not None:
            self.host.programs.extended(self.node.session, self.host.true(until))
        self.say(words.ExtendOrdered(number, until))

    def progressed(self, number: int) -> None:
        """Hear that a program gets on with its work."""
        self.take_in(ProgramProgressed(self.host.local(), number))

    def say(self, event: words.Event) -> None:
        if not self.watch.lost:
            self.host.tell_guardian(self, event)

    def _tell_session(self) -> None:
        self.watch, lease = self.watch.after_retiming(self.node.timing)
        if lease is not None:
            self.loads = replace(self.loads, timing=self.node.timing)
            self.say(lease)
        self.watch, word = self.watch.after_step(self.node)
        if word is not None:
            self.say(word)

    def hear(self, message: dict[str, Any]) -> None:
        """Understand one message of the guardian."""
        word = wire.for_agent(message)
        assert word is not None, message
        self.watch, event = self.watch.hear(word, self.host.local())
        if event is not None:
            self.take_in(event)
        self._watch_guardian()

    def _watch_guardian(self) -> None:
        """Do what the watch finds due, and have it look again in time (rule G7)."""
        if not self.alive or (self.watch.lost and not self.watch.runs):
            return
        now = self.host.local()
        if self.watch is self.watched and now < min(self.watch.ping_at, self.watch_alarm):
            return  # it would find nothing
        self.watch, due = self.watch.tick(now, self.host.shown(self.knows))
        self.watched = self.watch
        if self.watch.lost:
            self._alone()
            return
        for run in due.late | due.left:
            self.host.programs.kill(run, by_agent=True)
        if due.ping:
            self.say(words.Pinged(due.ping))
        if due.wake_at != self.watch_alarm:
            self.watch_alarm = due.wake_at
            if due.wake_at != float("inf"):
                self.host.at_local(due.wake_at, self.deliver, self._ring_watch, due.wake_at)

    def _ring_watch(self, moment: float) -> None:
        if moment == self.watch_alarm:
            self.watch_alarm, self.watched = float("inf"), None
            self._watch_guardian()

    def guardian_died(self) -> None:
        """Hear that the guardian closed its socket."""
        if self.watch.lost:
            return
        self.watch = self.watch.after_loss("the guardian died")
        self._alone()

    def _alone(self) -> None:
        """Kill the guardian and what it ran, release, and end."""
        runs = self.watch.runs
        self.watch = replace(self.watch, runs={})
        self.host.end_guardian_of(self)
        self.take_in(StopAsked(self.host.local(), self.watch.lost, 1))
        for number in runs:
            self.take_in(ProgramEnded(self.host.local(), number, -signal.SIGKILL, "killed"))
