-- Takes failures that are not yet counted, the oldest first. Two who count at once take different ones.
DELETE FROM mirepoix_failure
 WHERE id IN (SELECT id FROM mirepoix_failure ORDER BY id LIMIT :most)
RETURNING id, failure_group, title, name, failures, in_release, task_id, failed_at
