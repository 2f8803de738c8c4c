"""Metrics of a node: names, kinds, labels and meanings; docs/metrics.md is written from them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """Kind of a metric, as Prometheus has it."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


class Source(StrEnum):
    """Origin of the values of a metric."""

    NODE = "node"  #: the state of the node itself, at the moment of the question; no SQL
    DATABASE = "database"  #: a reading of the database; without an answer the metric is absent


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric; the name of a counter has its ending _total."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    source: Source


OWN = ("group", "task")
GROUP = ("group",)

IS_ACTIVE = Metric(
    name="coord_is_active",
    kind=Kind.GAUGE,
    labels=OWN,
    help="1 while this node may act as the holder, by its own clock; else 0.",
    source=Source.NODE,
)
TERM = Metric(
    name="coord_term",
    kind=Kind.GAUGE,
    labels=OWN,
    help="Term of the group's token, as this node knows it.",
    source=Source.NODE,
)
LEASE_REMAINING = Metric(
    name="coord_lease_remaining_seconds",
    kind=Kind.GAUGE,
    labels=OWN,
    help="Rest of the lease of this node; 0 on a standby.",
    source=Source.NODE,
)
NODE_INFO = Metric(
    name="coord_node_info",
    kind=Kind.GAUGE,
    labels=(*OWN, "version"),
    help="1; its label names the version of coord.",
    source=Source.NODE,
)
DATABASE_UP = Metric(
    name="coord_database_up",
    kind=Kind.GAUGE,
    labels=OWN,
    help="1 if the database answered the reading for these metrics; else 0.",
    source=Source.NODE,
)
ROUND_TRIP = Metric(
    name="coord_db_roundtrip_seconds",
    kind=Kind.GAUGE,
    labels=OWN,
    help="Round trip of one statement to the database.",
    source=Source.DATABASE,
)
CLOCK_OFFSET = Metric(
    name="coord_clock_offset_seconds",
    kind=Kind.GAUGE,
    labels=OWN,
    help="Clock of this machine minus the clock of the database, within half a round trip;"
    " no decision depends on it.",
    source=Source.DATABASE,
)
LEADERLESS = Metric(
    name="coord_group_leaderless_seconds",
    kind=Kind.GAUGE,
    labels=GROUP,
    help="Time since a node was certainly active; 0 while one is, and in a group without nodes.",
    source=Source.DATABASE,
)
PAUSED = Metric(
    name="coord_group_paused",
    kind=Kind.GAUGE,
    labels=GROUP,
    help="1 while an administrator has paused the work or the takeovers; else 0.",
    source=Source.DATABASE,
)
STANDBYS = Metric(
    name="coord_standbys",
    kind=Kind.GAUGE,
    labels=GROUP,
    help="Live nodes of the group beside the active one.",
    source=Source.DATABASE,
)
HEARTBEAT_AGE = Metric(
    name="coord_heartbeat_age_seconds",
    kind=Kind.GAUGE,
    labels=OWN,
    help="Age of the last heartbeat of each node whose session has not ended.",
    source=Source.DATABASE,
)
TAKEOVERS = Metric(
    name="coord_takeovers_total",
    kind=Kind.COUNTER,
    labels=("group", "reason"),
    help="Terms that have begun since this node started, by reason: first, release or takeover.",
    source=Source.DATABASE,
)
TAKEOVER_GAP = Metric(
    name="coord_takeover_gap_seconds",
    kind=Kind.HISTOGRAM,
    labels=GROUP,
    help="Time without an active node before each of those terms.",
    source=Source.DATABASE,
)
JOB_RUNS = Metric(
    name="coord_job_runs_total",
    kind=Kind.COUNTER,
    labels=("group", "job", "outcome"),
    help="Runs of a schedule that have ended, in all its life, by outcome: ok, failed, stopped (cut"
    " at stopTimeout), died (its process or node ended first), skipped (nobody ran its slot).",
    source=Source.DATABASE,
)
GATE_DENIED = Metric(
    name="coord_gate_denied_total",
    kind=Kind.COUNTER,
    labels=("group", "job"),
    help="Runs of a schedule that the last check before the start refused: the token had another"
    " holder, the slot was run before or too early, or the schedule was over.",
    source=Source.DATABASE,
)

METRICS = (
    *(IS_ACTIVE, TERM, LEASE_REMAINING, NODE_INFO, DATABASE_UP, ROUND_TRIP, CLOCK_OFFSET),
    *(LEADERLESS, PAUSED, STANDBYS, HEARTBEAT_AGE, TAKEOVERS, TAKEOVER_GAP, JOB_RUNS),
    GATE_DENIED,
)
#: Ends of a run, as the group's record has them, and slots without a run.
OUTCOMES = ("ok", "failed", "stopped", "died", "skipped")
#: Upper bounds of the buckets of TAKEOVER_GAP, in seconds: a handover takes milliseconds, and a
#: takeover an interval between one second and a few minutes.
GAP_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
