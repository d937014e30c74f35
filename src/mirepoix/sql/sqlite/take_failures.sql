-- Take failures that are not counted yet, the oldest first. Two transactions that count at once take different
-- failures.
DELETE FROM mirepoix_failure
 WHERE id IN (SELECT id FROM mirepoix_failure ORDER BY id LIMIT :most)
RETURNING id, failure_group, title, name, failures, in_release, task_id, failed_at
