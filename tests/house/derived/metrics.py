"""Page of reference of the metrics."""

from __future__ import annotations

from coordinator.web.node.catalogue import GAP_BUCKETS_S, METRICS, Source

HEAD = """\
# Metrics

Written from `coordinator/web/node/catalogue.py` by `make config`: change it there.

`GET /metrics` on every node that has `[http] listen`, standbys too, answers in the text format of
Prometheus, or in OpenMetrics where the client accepts that. It needs the extra: `pip install
'coord[metrics]'`; without it the answer is 501 with this sentence. [http.md](http.md) has the other
endpoints.

A *node* metric is the state of the node itself at the moment of the question. A *database* metric
is read from the database for the scrape, at most once a second, in a thread and on a connection of
its own, so no heartbeat and no `/active` waits for it. While the database does not answer within
two seconds, the *database* metrics are absent and `coord_database_up` is 0; the others go on.

Every node tells of its whole group, so the figures of a group come once from each of its nodes: a
query over a group takes their `max` or `min`, not their sum. `coord_is_active` is each node's own,
and `sum by (group) (coord_is_active) > 1` would be two active nodes. `coord_takeovers_total` and
`coord_takeover_gap_seconds` begin at 0 with each start of a node, as counters may.

| metric | kind | labels | from | meaning |
|---|---|---|---|---|
"""


def page() -> str:
    """Return the reference of all metrics."""
    lines = [
        f"| `{each.name}` | {each.kind} | {', '.join(f'`{name}`' for name in each.labels)}"
        f" | {'node' if each.source is Source.NODE else 'database'} | {each.help} |"
        for each in METRICS
    ]
    buckets = ", ".join(f"{bound:g}" for bound in GAP_BUCKETS_S)
    return HEAD + "\n".join([*lines, "", f"Buckets of the histogram, in seconds: {buckets}.", ""])
