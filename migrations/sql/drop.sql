-- Undoes everything that the other files make. A table takes its triggers and policies along.

DROP FUNCTION
    {schema}.coord_end_holder,
    {schema}.coord_delete_group,
    {schema}.coord_prune,
    {schema}.coord_prune_before;

DROP FUNCTION
    {schema}.coord_webhook_leave,
    {schema}.coord_webhook_failed,
    {schema}.coord_webhook_delivered,
    {schema}.coord_webhook_claim,
    {schema}.coord_webhook_batch,
    {schema}.coord_webhook_now;

DROP TABLE {schema}.webhook;

DROP VIEW
    {schema}.sys_clusters,
    {schema}.sys_result_cache,
    {schema}.sys_tasks,
    {schema}.sys_subtasks;

DROP FUNCTION
    {schema}.sys_create_task,
    {schema}.sys_cancel_task,
    {schema}.coord_find_operation,
    {schema}.coord_offer_operations,
    {schema}.coord_forget_operations,
    {schema}.coord_return_subtasks,
    {schema}.coord_return_hung_subtask,
    {schema}.coord_end_subtask,
    {schema}.coord_report_subtask,
    {schema}.coord_claim_subtask,
    {schema}.coord_begin_operation,
    {schema}.coord_settle_operation,
    {schema}.coord_tell_operation,
    {schema}.coord_fence_subtask,
    {schema}.coord_operation_groups,
    {schema}.coord_check_option,
    {schema}.coord_operation_exists;

DROP TABLE
    {schema}.operation_subtask,
    {schema}.operation,
    {schema}.operation_node,
    {schema}.operation_type;

DROP VIEW
    {schema}.sys_check_disk_results,
    {schema}.sys_segment_groups,
    {schema}.sys_segments,
    {schema}.sys_storage_devices;

DROP FUNCTION
    {schema}.coord_forget_leaving,
    {schema}.coord_forget_checkpoints,
    {schema}.coord_refuse_foreign;

DROP TABLE
    {schema}.check_disk_result,
    {schema}.checkpoint_row,
    {schema}.segment_leaving,
    {schema}.segment,
    {schema}.segment_group,
    {schema}.storage_device,
    {schema}.storage_node,
    {schema}.storage_key;

DROP VIEW
    {schema}.sys_planned_changes,
    {schema}.sys_observer_decisions,
    {schema}.sys_task_nodes,
    {schema}.sys_ongoing_tasks,
    {schema}.sys_nodes,
    {schema}.coord_history,
    {schema}.coord_status,
    {schema}.coord_nodes;

DROP FUNCTION {schema}.coord_ask_run;

DROP FUNCTION
    {schema}.coord_exchange,
    {schema}.coord_leave,
    {schema}.coord_release,
    {schema}.coord_give_back,
    {schema}.coord_take,
    {schema}.coord_granted_term,
    {schema}.coord_term_clock,
    {schema}.coord_raise_version,
    {schema}.coord_view,
    {schema}.coord_last_error,
    {schema}.coord_read_cursor,
    {schema}.coord_save_cursor,
    {schema}.coord_read_state,
    {schema}.coord_save_state,
    {schema}.coord_fence;

DROP TABLE
    {schema}.planned_change,
    {schema}.observer_decision,
    {schema}.token_state,
    {schema}.task_node,
    {schema}.task,
    {schema}.group_role,
    {schema}.schedule,
    {schema}.event,
    {schema}.database_epoch,
    {schema}.token_history,
    {schema}.group_record,
    {schema}.health_check,
    {schema}.token_holder;

DROP FUNCTION
    {schema}.coord_tell_interval,
    {schema}.coord_agree_interval,
    {schema}.coord_lacks_interval,
    {schema}.coord_refused_interval,
    {schema}.coord_ask_planned,
    {schema}.coord_end_planned,
    {schema}.coord_tell_planned,
    {schema}.coord_end_handover,
    {schema}.coord_may_take,
    {schema}.coord_channel,
    {schema}.coord_refuse_clash,
    {schema}.coord_refuse_name,
    {schema}.coord_guard_token,
    {schema}.coord_restore_token;
