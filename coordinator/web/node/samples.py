"""Values of the metrics at one moment: a pure function of the node's state and of what was read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from coordinator.protocol.node.state.node import active
from coordinator.web.node import catalogue
from coordinator.web.node.catalogue import GAP_BUCKETS_S, OUTCOMES, Metric
from coordinator.web.node.checks import Snapshot, lease_left_s, term_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Gaps:
    """Gaps before the terms that were counted: how many fell into each bucket, and their sum.

    counts: one for each bound of GAP_BUCKETS_S, and one for longer gaps.
    """

    counts: tuple[int, ...] = (0,) * (len(GAP_BUCKETS_S) + 1)
    sum_s: float = 0.0

    def with_one(self, gap_s: float) -> Gaps:
        """Return these gaps and one more; an overlap counts as no gap."""
        gap_s = max(0.0, gap_s)
        place = sum(gap_s > bound for bound in GAP_BUCKETS_S)
        counts = tuple(count + (at == place) for at, count in enumerate(self.counts))
        return Gaps(counts=counts, sum_s=self.sum_s + gap_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Runs of one schedule since its first one, by outcome; denied: claims that were refused."""

    name: str
    ok: int
    failed: int
    stopped: int
    died: int
    skipped: int
    denied: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Figures of a group, as the database had them.

    leaderless_s: None: its nodes have left, so nobody has to be active.
    beat_ages_s: by node, of sessions that have not ended.
    takeovers, gaps: of the terms that began since the node started.
    """

    round_trip_s: float
    clock_offset_s: float
    leaderless_s: float | None
    paused: bool
    standbys: int
    beat_ages_s: Mapping[str, float]
    takeovers: Mapping[str, int] = field(default_factory=dict)
    gaps: Gaps = Gaps()
    jobs: tuple[Job, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """Value of a metric with these labels; of a histogram, its gaps."""

    metric: Metric
    labels: tuple[str, ...]
    value: float | Gaps


def samples(
    snapshot: Snapshot, figures: Figures | None, now: float, version: str
) -> tuple[Sample, ...]:
    """Return all samples, in the order of the catalogue; figures: None: the database is away."""
    made = [*_of_node(snapshot, figures, now, version)]
    if figures is not None:
        made += _of_group(snapshot, figures)
    order = {metric.name: place for place, metric in enumerate(catalogue.METRICS)}
    return tuple(sorted(made, key=lambda sample: order[sample.metric.name]))


def _of_node(
    snapshot: Snapshot, figures: Figures | None, now: float, version: str
) -> Iterator[Sample]:
    node = snapshot.node
    own = (node.policy.group, node.policy.node)
    yield Sample(catalogue.IS_ACTIVE, own, float(active(node, now)))
    yield Sample(catalogue.TERM, own, float(term_of(node)))
    yield Sample(catalogue.LEASE_REMAINING, own, lease_left_s(node, now) or 0.0)
    yield Sample(catalogue.NODE_INFO, (*own, version), 1.0)
    yield Sample(catalogue.DATABASE_UP, own, float(figures is not None))
    if figures is not None:
        yield Sample(catalogue.ROUND_TRIP, own, figures.round_trip_s)
        yield Sample(catalogue.CLOCK_OFFSET, own, figures.clock_offset_s)


def _of_group(snapshot: Snapshot, figures: Figures) -> Iterator[Sample]:
    group = snapshot.node.policy.group
    yield Sample(catalogue.LEADERLESS, (group,), figures.leaderless_s or 0.0)
    yield Sample(catalogue.PAUSED, (group,), float(figures.paused))
    yield Sample(catalogue.STANDBYS, (group,), float(figures.standbys))
    for task, age_s in figures.beat_ages_s.items():
        yield Sample(catalogue.HEARTBEAT_AGE, (group, task), age_s)
    for reason, count in figures.takeovers.items():
        yield Sample(catalogue.TAKEOVERS, (group, reason), float(count))
    yield Sample(catalogue.TAKEOVER_GAP, (group,), figures.gaps)
    for job in figures.jobs:
        for outcome in OUTCOMES:
            ended = float(getattr(job, outcome))
            yield Sample(catalogue.JOB_RUNS, (group, job.name, outcome), ended)
        yield Sample(catalogue.GATE_DENIED, (group, job.name), float(job.denied))


def by_metric(made: tuple[Sample, ...]) -> dict[str, list[Sample]]:
    """Group samples by the name of their metric, in their order."""
    found: dict[str, list[Sample]] = {}
    for sample in made:
        found.setdefault(sample.metric.name, []).append(sample)
    return found


def cumulative(gaps: Gaps) -> list[tuple[str, float]]:
    """Return the buckets of a histogram as Prometheus has them: each counts those below it, too."""
    bounds = [*map(str, GAP_BUCKETS_S), "+Inf"]
    total, buckets = 0, []
    for bound, count in zip(bounds, gaps.counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return buckets
