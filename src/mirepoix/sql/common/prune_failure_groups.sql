-- Deletes causes that nothing failed by for long and that no task bears. What is ignored was decided, and is kept.
DELETE FROM mirepoix_failure_group
 WHERE state <> 'ignored' AND last_seen_at < {earlier :older_than_s}
   AND NOT EXISTS (SELECT 1 FROM mirepoix_task AS t WHERE t.failure_group = mirepoix_failure_group.id)
