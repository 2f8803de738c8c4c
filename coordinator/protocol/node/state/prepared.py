"""Program that a standby has started behind a closed gate (docs/protocol.md, rules Y5 to Y8)."""

from __future__ import annotations

from dataclasses import dataclass, field

from coordinator.protocol.rules.restarts import Restarts


@dataclass(frozen=True, slots=True)
class Prepared:
    """One run behind a closed gate.

    ready: the program waits at the gate, so it acts as soon as that is opened.
    """

    number: int
    started_at: float
    ready: bool = False
    stopping: str = ""  #: the reason why it was told to end


@dataclass(frozen=True, slots=True)
class Preparation:
    """The prepared run of a node, if there is one, and the back-off of the next.

    told: readiness that the database has acknowledged for the node's session; None: none yet.
    """

    run: Prepared | None = None
    restarts: Restarts = field(default_factory=Restarts)
    told: tuple[str, bool] | None = None

    @property
    def ready(self) -> bool:
        """True while a program waits at its gate."""
        return self.run is not None and self.run.ready and not self.run.stopping
