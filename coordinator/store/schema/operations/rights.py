"""Rights on operations: everybody reads them, functions alone write them."""

from __future__ import annotations

TABLES = ("operation_type", "operation_node", "operation", "operation_subtask")
#: Views of people, under the names of the schema `sys`.
PEOPLE_VIEWS = ("tasks", "subtasks", "result_cache", "clusters")
#: Functions that the worker of a node calls.
NODE_FUNCTIONS = (
    "coord_fence_subtask(uuid, bigint, uuid)",
    "coord_claim_subtask(text, text, uuid, uuid, bigint)",
    "coord_report_subtask(uuid, bigint, uuid, bigint, bigint, bigint, bigint)",
    "coord_end_subtask(uuid, bigint, uuid, text, text, jsonb, jsonb)",
    "coord_return_subtasks(text, uuid, integer)",
    "coord_return_hung_subtask(text, uuid, bigint, bigint, bigint, integer)",
    "coord_offer_operations(text, text, uuid, text, jsonb)",
    "coord_forget_operations(text)",
)
#: Functions that system administrators call, and nobody else.
ADMINISTRATOR_FUNCTIONS = (
    "sys_create_task(text, text, text, jsonb, text)",
    "sys_cancel_task(text)",
)
#: Parts of the others, which run with their rights.
INNER_FUNCTIONS = (
    "coord_operation_exists(text, text[], text)",
    "coord_check_option(text, jsonb, text[], text, text, jsonb)",
    "coord_operation_groups(text, text, text)",
    "coord_begin_operation(uuid)",
    "coord_settle_operation(uuid)",
    "coord_tell_operation(uuid)",
    "coord_find_operation(text)",
)
FUNCTIONS = (*NODE_FUNCTIONS, *ADMINISTRATOR_FUNCTIONS, *INNER_FUNCTIONS)
