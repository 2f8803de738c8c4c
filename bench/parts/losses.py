"""Losses of the holder, and the figures of many."""

from __future__ import annotations

from dataclasses import dataclass

from bench.measure import Figures, summary

#: Nobody waits longer for a successor; then it is "none".
SUCCESSOR_MAX_S = 15.0
#: A cell that has shown so many times that nobody takes over is not tried again.
NONE_MAX = 2
#: After a thaw, and after a takeover, the old program is watched for so long.
WATCH_S = 1.0
SEED = 20


@dataclass(frozen=True)
class Loss:
    """One loss of the holder; seconds, None where nobody took over."""

    gap_s: float | None  #: last line of the old to first line of the new
    after_s: float | None  #: from the fault to the first line of the new
    from_beat_s: float | None  #: from the old one's last heartbeat
    late_lines: int  #: lines of the old after the first of the new
    overlap_s: float  #: from the first to the last of them


def figures(losses: list[Loss]) -> Figures:
    """Return the summary of a cell."""
    return {
        "runs": len(losses),
        "none": sum(loss.gap_s is None for loss in losses),
        "gap": summary([loss.gap_s for loss in losses if loss.gap_s is not None]),
        "after": summary([loss.after_s for loss in losses if loss.after_s is not None]),
        "from_beat": summary([loss.from_beat_s for loss in losses if loss.from_beat_s is not None]),
        "overlaps": sum(loss.late_lines > 0 for loss in losses),
        "late_lines_max": max((loss.late_lines for loss in losses), default=0),
        "overlap_s_max": max((loss.overlap_s for loss in losses), default=0.0),
        "losses": [
            [loss.gap_s, loss.after_s, loss.from_beat_s, loss.late_lines, loss.overlap_s]
            for loss in losses
        ],
    }
