"""The database of a world: one writable primary, its restarts, promotions and backups."""

from __future__ import annotations

from coordinator.protocol.messages.requests import (
    Answer,
    Identity,
    NodeFacts,
    NodeSeen,
    Request,
    Take,
)
from tests.simulation.group.witness import Witness
from tests.simulation.planned import witness as planned_witness
from tests.simulation.world.history import Granted, History
from tests.simulation.world.settings import GROUP
from tests.support.fakes.memory_store import MemoryDatabase, Snapshot


class Server:
    """A MemoryDatabase that can be unreachable, restarted, promoted with lost commits, restored.

    There is one writable primary at a time: what the old one had under way dies with it, unless
    a pooler stands between, which keeps connections and statements and gives them to the new one.

    life: raised by every restart; a connection belongs to one life.
    must_know: node names whose rows no loss of commits takes away. It is empty but where nodes
               have different intervals: how long a new identity is to be waited out is read from
               the rows, and a longer interval that was lost with its row, while everybody who
               knew it was restarted, is known to nobody. That is not promised.
    """

    def __init__(
        self, history: History, database: MemoryDatabase, pooled: bool, must_know: frozenset[str]
    ) -> None:
        self.history, self.database, self.pooled = history, database, pooled
        self.must_know = must_know
        self.up = True
        self.silent = False  #: while it is down: connecting is not refused, it gets no answer
        self.life = 0
        self.highest_timeline = 1
        #: A primary beside which another one was promoted by mistake: its state, and who it is.
        self.aside: tuple[Snapshot, Identity] | None = None
        self._aside_counts = False
        self.granted_max = 0
        self._witness = Witness(history, database)
        self._kept: dict[int, tuple[Identity, Snapshot]] = {}

    def connect(self, facts: NodeFacts) -> int:
        """Open a connection: make the rows that must exist beforehand; returns its life."""
        self.database.prepare(facts)
        return self.life

    def carry_out(self, now: float, facts: NodeFacts, life: int, request: Request) -> Answer | None:
        """Carry a statement out, however late it comes; None: its connection is dead."""
        if not self._answers(life):
            return None
        rows = planned_witness.standing(self.database, facts.group)
        answer = self._witness.watch(now, facts, request)
        if answer.taken or (isinstance(request, Take) and answer.done):
            self.history.witnessed += planned_witness.taking(now, facts, request, rows)
        if isinstance(request, Take) and answer.done:
            timeline = self.database.identity.timeline
            self.history.grants.append(
                Granted(now, facts.node, request.session, answer.term, timeline)
            )
            self.granted_max = max(self.granted_max, answer.term)
        return answer

    def session_of(self, facts: NodeFacts, life: int, node: str | None) -> NodeSeen | None:
        """Show a node's row as it is now; None: there is none, or its connection is dead."""
        if not self._answers(life):
            return None
        row = self.database.nodes.get((facts.group, node or ""))
        return None if row is None else self.database.seen(row)

    def _answers(self, life: int) -> bool:
        return self.up and (life == self.life or self.pooled)

    def floor_is_kept(self) -> bool:
        """Say whether the token row knows every term that was ever granted."""
        token = self.database.tokens.get(GROUP)
        return token is not None and max(token.term, token.term_floor) >= self.granted_max

    # --- what happens to it ---------------------------------------------------------------------

    def keep(self, mark: int) -> None:
        """Remember this moment as a backup, or as the last commit that a standby received."""
        nodes = self.database.nodes
        joined = {name for (_, name), row in nodes.items() if row.facts is not None}
        if self.must_know <= joined:
            self._kept[mark] = (self.database.identity, self.database.snapshot())

    def restart(self) -> None:
        """Start again with everything that was acknowledged."""
        self.life += 1
        self.database.restart()

    def promote(self, mark: int, *, same_number: bool = False) -> None:
        """Go on from an earlier moment on a new timeline; what came after it is lost.

        same_number: the number that follows the branch which it leaves, whether or not another
                     branch had it: that was thrown away, or its history files were not seen.
        """
        if mark not in self._kept:
            self.restart()  # there is nothing that it could go back to
            return
        kept, snapshot = self._kept[mark]
        if self._loses_longest(snapshot):
            self.restart()
            return
        number = 1 + (kept.timeline if same_number else self.highest_timeline)
        self.highest_timeline = max(self.highest_timeline, number)
        self.aside = None
        self.life += 1
        self.database.restore(snapshot, number)

    def _loses_longest(self, snapshot: Snapshot) -> bool:
        """Say whether the longest interval that was ever agreed on would be lost.

        A node that joins then knows it from nobody: that is not promised (protocol.md, "What
        nobody can know").
        """
        agreed = (row.value or 0 for row in self.database.planned.values() if row.agreed)
        longest = max(agreed, default=0)
        kept = (row.value or 0 for row in snapshot.planned.values() if row.agreed)
        return longest > max(kept, default=0)

    def promote_by_mistake(self, mark: int) -> None:
        """Promote a standby while the primary lives; everybody finds that one from now on."""
        if (
            mark not in self._kept
            or self._kept[mark][0].timeline != self.identity.timeline
            or self._loses_longest(self._kept[mark][1])
        ):
            self.restart()
            return
        self._aside_counts = self.database.counts_terms(GROUP) and not self.database.copied
        aside = self.database.snapshot(), self.identity
        self.promote(mark, same_number=True)
        self.aside = aside

    def stays(self) -> None:
        """Let what was promoted by mistake be the primary for good."""
        self.aside = None

    def counts_terms(self) -> bool:
        """Say whether the true primary is on its first branch, and nobody saw that it is copied."""
        return self._aside_counts

    def mend(self) -> None:
        """Throw away what was promoted by mistake: everybody finds the true primary again."""
        if self.aside is None:
            return
        (snapshot, identity), self.aside = self.aside, None
        self.life += 1
        self.database.restore(snapshot, identity.timeline)
        self.database.identity = identity
        self.database.copied = False  # it has to be made anew

    def roll_back(self, mark: int) -> None:
        """Start again from a copy of the files of an earlier moment, on the same timeline.

        One in which no node had ever connected looks like a new database: that is not promised.
        """
        kept, snapshot = self._kept.get(mark, (None, None))
        if (
            kept is None
            or snapshot is None
            or kept.timeline != self.identity.timeline
            or not snapshot.epochs
            or self._loses_longest(snapshot)
        ):
            self.restart()
        else:
            self.life += 1
            self.database.restore(snapshot, self.identity.timeline)

    def loses_beats_of(self, mark: int, group: str, node: str, beats: int) -> bool:
        """Say whether going back to a moment takes away heartbeats that a node knows of."""
        if mark not in self._kept:
            return True
        row = self._kept[mark][1].nodes.get((group, node))
        return row is None or row.beat < beats

    @property
    def identity(self) -> Identity:
        """Server that answers."""
        return self.database.identity
