"""Values that go into the catalogue."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """Holding of a token, under which a checkpoint is made."""

    token: str
    term: int
    session: str
    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCheckpoint:
    """A checkpoint that is to be made; data_count 0: its content is in the database."""

    holding: Holding
    form: str
    data_count: int
    parity_count: int
    block_bytes: int
    length: int

    def values(self) -> dict[str, object]:
        """Return the values of its columns."""
        holding = self.holding
        return {
            "token": holding.token,
            "term": holding.term,
            "session": holding.session,
            "node": holding.node,
            "form": self.form,
            "data_count": self.data_count,
            "parity_count": self.parity_count,
            "block_bytes": self.block_bytes,
            "length": self.length,
        }


@dataclass(frozen=True, slots=True)
class NewSegment:
    """A segment that is to be written, and the device that is to have it."""

    segment: str
    place: int
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentChange:
    """Change of a segment that has a version; None leaves a column as it is.

    checked: the change rests on a check of all its bytes, or on their making.
    """

    segment: str
    version: int
    state: str
    device: str | None = None
    owner: str | None = None
    owner_term: int | None = None
    checked: bool = False

    def values(self) -> dict[str, object]:
        """Return the values of its columns."""
        return {
            "segment": self.segment,
            "version": self.version,
            "state": self.state,
            "device": self.device,
            "owner": self.owner,
            "owner_term": self.owner_term,
            "checked": self.checked,
        }
