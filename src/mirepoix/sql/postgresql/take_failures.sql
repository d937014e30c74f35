-- Take failures that are not counted yet, the oldest first. Two transactions that count at once take different
-- failures.
WITH chosen AS (
    SELECT id FROM mirepoix_failure ORDER BY id LIMIT :most FOR UPDATE SKIP LOCKED
)
DELETE FROM mirepoix_failure AS f
 USING chosen
 WHERE f.id = chosen.id
RETURNING f.id, f.failure_group, f.title, f.name, f.failures, f.in_release, f.task_id, f.failed_at
