-- Delete failure groups without recent failures and without tasks. A person decided to ignore a group, so ignored
-- groups are kept.
DELETE FROM mirepoix_failure_group
 WHERE state <> 'ignored' AND last_seen_at < {earlier :older_than_s}
   AND NOT EXISTS (SELECT 1 FROM mirepoix_task AS t WHERE t.failure_group = mirepoix_failure_group.id)
