"""Rights on the tables of checkpoints and disks; row level security says whose rows they are."""

from __future__ import annotations

#: Columns that a running node reads, inserts and updates: "*" is all, "" none. Two functions
#: delete, for a right to delete is a right to lock the whole table.
NODE: dict[str, tuple[str, str, str]] = {
    "storage_key": ("*", "group_id, key", ""),
    "storage_node": (
        *("*", "group_id, node, address, fingerprint, reported_at"),
        "address, fingerprint, reported_at",
    ),
    "storage_device": (
        *(
            "*",
            "id, group_id, node, url, state, total_bytes, free_bytes, error,"
            " silent_ms, reported_at",
        ),
        "node, url, state, total_bytes, free_bytes, error, silent_ms, reported_at",
    ),
    "segment_group": (
        "*",
        "group_id, token, term, session, sequence, node, state, form, data_count,"
        " parity_count, block_bytes, length, digest, created_at, committed_at",
        "state, length, digest, committed_at, expired_at",
    ),
    "segment": (
        "*",
        "id, segment_group, group_id, place, device, state, file_bytes, digest, changed_at",
        "device, state, version, file_bytes, digest, owner, owner_term, checked_at, changed_at",
    ),
    "segment_leaving": (
        "*",
        "segment, device, group_id, leaves_at, subtask, subtask_term",
        "leaves_at, subtask, subtask_term",
    ),
    "checkpoint_row": ("*", "segment_group, place, group_id, content", ""),
    "check_disk_result": (
        "*",
        "operation, group_id, node, device, segment, segment_group, state_before, verdict,"
        " block_count, blocks_checked, stored_digest, computed_digest, state_after, detail",
        "",
    ),
}
NODE_FUNCTIONS = (
    "coord_forget_checkpoints(text, bigint[], bigint)",
    "coord_forget_leaving(text, uuid, uuid[], timestamptz[])",
    "coord_refuse_foreign(text)",
)
#: The key, and the content of a program's state, are the group's alone.
SECRET = ("storage_key", "checkpoint_row")
#: Rows that people may read.
SHOWN = tuple(table for table in NODE if table not in SECRET)
#: Views of people, under the names of the schema `sys`.
PEOPLE_VIEWS = ("storage_devices", "segments", "segment_groups", "check_disk_results")


def privileges() -> dict[str, str]:
    """Return the rights of a node's role on whole tables, for a database without row security."""
    return {
        table: ", ".join(
            verb
            for verb, columns in zip(("SELECT", "INSERT", "UPDATE"), needs, strict=True)
            if columns
        )
        for table, needs in NODE.items()
    }
