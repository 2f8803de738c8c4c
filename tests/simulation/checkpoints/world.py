"""A small world of checkpoints: writers that die anywhere, takeovers, a collector, a sweeper.

The steps of all of them are taken one by one in a random order, as the database orders their
transactions. The decisions are those of coordinator/segments/rules.py, which a planted variant
replaces. The checker looks after each step, and once more when everything has come to rest.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from coordinator.segments import rules
from coordinator.segments.rules import COMMITTED, EXPIRED, WRITING, Held, Kept

SEGMENTS = 3  #: of each checkpoint, one a device
LATE_STEPS = 5  #: between the note of a file and its deletion
WRITER_STEPS = 50  #: for which a writer may go on after the end of its holding; then it is killed
CLAIMED = 10**9  #: due when the claim of a subtask is over
NOBODY = Held(0, None)


@dataclass(frozen=True, slots=True)
class Rules:
    """The decisions of the product, or planted ones."""

    may_commit: Callable[..., bool] = rules.may_commit
    is_orphan: Callable[..., bool] = rules.is_orphan
    may_delete: Callable[..., bool] = rules.may_delete
    may_forget: Callable[..., bool] = rules.may_forget
    expired: Callable[..., tuple[int, ...]] = rules.expired
    intent_first: bool = True
    locked: bool = True  #: a sweeper reads and deletes while nobody gives a file its name (V9)


@dataclass(slots=True)
class Checkpoint:
    sequence: int
    made_under: Held
    state: str
    begun_at: int
    segments: list[tuple[str, str]]  #: id and device of each


@dataclass(slots=True)
class World:
    rules: Rules
    random: random.Random
    step: int = 0
    token: Held = NOBODY
    live: bool = False
    checkpoints: dict[int, Checkpoint] = field(default_factory=dict)
    files: set[tuple[str, str]] = field(default_factory=set)
    leaving: dict[tuple[str, str], int] = field(default_factory=dict)
    writers: list[tuple[Held, Iterator[None]]] = field(default_factory=list)
    sweeping: Iterator[None] | None = None
    moving: Iterator[None] | None = None
    moved: int = 0
    ended_at: dict[Held, int] = field(default_factory=dict)
    made: int = 0
    done: int = 0  #: checkpoints that were committed
    found: list[str] = field(default_factory=list)

    # --- actors -----------------------------------------------------------------------------------

    def take_over(self) -> None:
        """End the holder's session, and take the token; its writers may not know yet."""
        self.end_session()
        self.token = Held(self.token.term + 1, f"s{self.token.term + 1}")
        self.live = True

    def end_session(self) -> None:
        self.live = False
        self.ended_at.setdefault(self.token, self.step)

    def release(self) -> None:
        self.end_session()
        self.token = Held(self.token.term, None)

    def put(self) -> None:
        if self.token.session is not None and self.live:
            self.writers.append((self.token, self.writing(self.token)))

    def writing(self, mine: Held) -> Iterator[None]:
        """Make one checkpoint; it may be left at each yield, for ever."""
        self.made += 1
        number = self.made
        segments = tuple((f"{number}.{place}", f"d{place}") for place in range(SEGMENTS))

        def begin() -> bool:
            if not (self.token == mine and self.live):
                return False
            self.checkpoints[number] = Checkpoint(
                max((each.sequence for each in self.checkpoints.values()), default=0) + 1,
                mine,
                WRITING,
                self.step,
                list(segments),
            )
            return True

        yield
        if self.rules.intent_first and not begin():
            return
        for segment in segments:
            yield
            while self._is_locked():
                yield
            self.files.add(segment)
        yield
        if not self.rules.intent_first and not begin():
            return
        intent = self.checkpoints.get(number)
        state = intent.state if intent is not None else None
        ours = self.token == mine and self.live
        if self.rules.may_commit(state, mine, self.token, session_live=self.live):
            assert intent is not None
            intent.state = COMMITTED
            self.done += 1
            if not ours:
                self.found.append(f"{number}: committed by a deposed holder")
        elif ours:
            self.found.append(f"{number}: the holder's own checkpoint was refused")

    def collect(self) -> None:
        for number, made in list(self.checkpoints.items()):
            old = made.state == EXPIRED
            if old or self._orphan(made):
                for segment in made.segments:
                    self.leaving[segment] = self.step + LATE_STEPS
                del self.checkpoints[number]

    def retain(self) -> None:
        kept = [
            Kept(checkpoint=number, sequence=made.sequence, age_s=self.step - made.begun_at)
            for number, made in self.checkpoints.items()
            if made.state == COMMITTED
        ]
        newest = max(kept, key=lambda each: each.sequence, default=None)
        for number in self.rules.expired(kept, 2, 60):
            self.checkpoints[number].state = EXPIRED
            if newest is not None and number == newest.checkpoint:
                self.found.append(f"{number}: the newest expired")

    def note_falsely(self) -> None:
        """A file that is placed here was once to leave: moved away, and back again."""
        placed = [each for made in self.checkpoints.values() for each in made.segments]
        if placed:
            self.leaving.setdefault(self.random.choice(placed), self.step)

    def move(self) -> None:
        """Begin to move a segment, or go on with it; one device is the target again and again."""
        if self.moving is None:
            self.moving = self._moved()
        if next(self.moving, "over") == "over":
            self.stop_moving()

    def stop_moving(self) -> None:
        """End the mover's claim: what it noted and did not commit is due at once."""
        self.moving = None
        for segment, at in self.leaving.items():
            if at == CLAIMED:
                self.leaving[segment] = self.step

    def _moved(self) -> Iterator[None]:
        """Move a segment to another device: note, file, commit, note of the old one (V5)."""
        committed = [
            (made, at)
            for made in self.checkpoints.values()
            if made.state == COMMITTED
            for at in range(SEGMENTS)
        ]
        if not committed:
            return
        made, at = self.random.choice(committed)
        old = made.segments[at]
        new = (old[0], "spare" if old[1] != "spare" else f"d{at}")
        self.leaving[new] = CLAIMED
        yield
        while self._is_locked():
            yield
        self.files.add(new)
        yield
        if made.state == COMMITTED and made in self.checkpoints.values():
            made.segments[at] = new
            self.leaving[old] = self.step + LATE_STEPS
            self.moved += 1

    def sweep(self) -> None:
        """Look for what is due, or delete it: a sweeper may stand still in between."""
        if self.sweeping is None:
            self.sweeping = self._swept()
        if next(self.sweeping, "over") == "over":
            self.sweeping = None

    def _is_locked(self) -> bool:
        return self.rules.locked and self.sweeping is not None

    def _swept(self) -> Iterator[None]:
        due = [
            (segment, at, any(segment in made.segments for made in self.checkpoints.values()))
            for segment, at in self.leaving.items()
        ]
        yield
        for segment, at, placed in due:
            device = segment[1] if placed else None
            if self.rules.may_delete(device=segment[1], catalogued_on=device, due=at <= self.step):
                self.files.discard(segment)
            forgettable = self.rules.may_forget(
                device=segment[1],
                catalogued_on=device,
                due_for_s=self.step - at,
                writer_max_s=WRITER_STEPS,
            )
            if forgettable and self.leaving.get(segment) == at:  # and was not noted anew
                del self.leaving[segment]

    # --- the run ----------------------------------------------------------------------------------

    def run(self, steps: int) -> None:
        self.take_over()
        for self.step in range(steps):
            self._act()
            self._check()
            if self.found:
                return
        self._rest()

    def _act(self) -> None:
        actors: list[Callable[[], None]] = [self.collect, self.retain, self.sweep, self.sweep]
        actors += [self.move, self.move, self.move]
        actors += [self.put, *[self.advance] * 16]
        chance = self.random.random()
        if chance < 0.04:
            self.take_over()
        elif chance < 0.06:
            self.end_session()
        elif chance < 0.08:
            self.release()
        elif chance < 0.10:
            self.note_falsely()
        elif chance < 0.13 and self.writers:
            self.writers.pop(self.random.randrange(len(self.writers)))  # it dies
        elif chance < 0.15:
            self.stop_moving()
        else:
            self.random.choice(actors)()

    def advance(self) -> None:
        never = self.step
        self.writers = [
            each
            for each in self.writers
            if self.step - self.ended_at.get(each[0], never) <= WRITER_STEPS
        ]
        if self.writers:
            each = self.random.choice(self.writers)
            if next(each[1], "over") == "over":
                self.writers.remove(each)

    def _rest(self) -> None:
        """Nobody writes any more, and another holder has come: nothing half is left."""
        self.writers.clear()
        self.take_over()
        self.sweeping = None
        self.stop_moving()
        for _ in range(3):
            self.step += WRITER_STEPS + LATE_STEPS + 1
            self.collect()
            self.sweep()
            self.sweep()
        self._check()
        placed = {each for made in self.checkpoints.values() for each in made.segments}
        if self.files - placed:
            self.found.append(f"left for ever: {sorted(self.files - placed)}")
        if any(made.state == WRITING for made in self.checkpoints.values()):
            self.found.append("an intent is left for ever")

    def _check(self) -> None:
        committed = [
            (number, made) for number, made in self.checkpoints.items() if made.state == COMMITTED
        ]
        for number, made in committed:
            if not self.files.issuperset(made.segments):
                self.found.append(f"{number}: committed, and its files are not all there")
        in_order = sorted(committed, key=lambda each: each[1].sequence)
        terms = [made.made_under.term for _, made in in_order]
        if terms != sorted(terms):
            self.found.append(f"terms fall: {terms}")

    def _orphan(self, made: Checkpoint) -> bool:
        return self.rules.is_orphan(made.state, made.made_under, self.token)


def world_of(seed: int, given: Rules | None = None, steps: int = 1_000) -> World:
    """Run a world to its end."""
    world = World(given or Rules(), random.Random(seed))
    world.run(steps)
    return world
