"""Rights on planned changes: an administrator asks, nodes record the end, everybody reads."""

from __future__ import annotations

TABLE = "planned_change"
#: Views of people, under the names of the schema `sys`.
PEOPLE_VIEWS = ("planned_changes",)
#: Columns of what a node, or an administrator, ends or finds agreed on.
ENDING = "outcome, outcome_reason, ended_by, agreed_at"
#: Columns of what an administrator asks for.
ASKING = "group_id, kind, node, value, asked_by, reason, due_at, until_at"
#: Functions that the triggers call with the rights of whoever asks or ends.
ASKING_FUNCTIONS = (
    "coord_channel(text)",
    "coord_refused_interval(text, integer, timestamptz)",
    "coord_agree_interval(text)",
    "coord_lacks_interval(text, integer)",
)
#: Functions that a running node calls besides, within a taking.
NODE_FUNCTIONS = (
    *ASKING_FUNCTIONS,
    "coord_may_take(text, text, boolean)",
    "coord_end_handover(text, text, text, bigint, boolean)",
    "coord_tell_interval(text, text, uuid, bigint, integer, integer)",
)
#: Functions of what an administrator asks for besides: a run of a task by hand.
ADMINISTRATOR_FUNCTIONS = ("coord_ask_run(text, text, text, text)",)
TRIGGER_FUNCTIONS = ("coord_ask_planned()", "coord_end_planned()", "coord_tell_planned()")
