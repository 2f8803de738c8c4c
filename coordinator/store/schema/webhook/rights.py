"""Rights on the deliveries to webhooks: everybody reads the marks, functions alone write them."""

from __future__ import annotations

TABLE = "webhook"
#: Functions that the sender of a node calls.
NODE_FUNCTIONS = (
    "coord_webhook_claim(text, uuid, uuid, double precision, integer)",
    "coord_webhook_delivered(text, uuid, bigint, double precision)",
    "coord_webhook_failed(text, uuid, text, double precision)",
    "coord_webhook_leave(text, uuid)",
)
#: Parts of the others, which run with their rights.
INNER_FUNCTIONS = (
    "coord_webhook_now()",
    "coord_webhook_batch(text, text, bigint, text, bigint, integer)",
)
FUNCTIONS = (*NODE_FUNCTIONS, *INNER_FUNCTIONS)
