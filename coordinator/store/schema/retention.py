"""Rights on cleaning: a node prunes by the fixed limits, an administrator does the rest."""

from __future__ import annotations

NODE_FUNCTIONS = ("coord_prune(text, integer)",)
ADMINISTRATOR_FUNCTIONS = (
    *NODE_FUNCTIONS,
    "coord_prune_before(text, integer, interval, bigint, interval, bigint)",
    "coord_delete_group(text)",
    "coord_end_holder(text, text, uuid, bigint, text, text)",
)
FUNCTIONS = ADMINISTRATOR_FUNCTIONS
