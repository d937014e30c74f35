-- The keys of tasks that this transaction prunes stay for a while.
UPDATE JSON_TABLE({json :task_ids}, '$[*]' COLUMNS (id {id} PATH '$')) AS pruned
  STRAIGHT_JOIN mirepoix_key FORCE INDEX (mirepoix_key_task) ON mirepoix_key.task_id = pruned.id
   SET mirepoix_key.expires_at = {later :kept_s}
 WHERE mirepoix_key.expires_at IS NULL
