-- Every failure of these groups, counted in the transaction that records it. In the order of their ids, so that two who count
-- the same groups wait for each other and never in a ring. What was resolved and fails again is open again: a regression. But not
-- if it fails where it was known to fail, in a release before the one it is resolved in. What is ignored is open again when its
-- time, its number or its rate is over.
-- Assigned from left to right: what is read must not have been written.
INSERT INTO mirepoix_failure_group (id, title, name, failures, hour_failures, first_release, last_release, last_task_id)
SELECT r.id, r.title, r.name, r.failures, r.failures, :release, :release, r.last_task_id
  FROM JSON_TABLE({json :rows}, '$[*]' COLUMNS (
           id {id} PATH '$.id', title {text} PATH '$.title', name {text} PATH '$.name', failures int PATH '$.failures',
           last_task_id {id} PATH '$.last_task_id')) AS r
 ORDER BY r.id
    ON DUPLICATE KEY UPDATE
       regressions = mirepoix_failure_group.regressions
            + CASE WHEN mirepoix_failure_group.state = 'resolved'
                     AND (mirepoix_failure_group.resolved_in IS NULL OR VALUES(last_release) IS NULL OR VALUES(last_release) = mirepoix_failure_group.resolved_in
                          OR VALUES(last_release) NOT IN (coalesce(mirepoix_failure_group.first_release, ''), coalesce(mirepoix_failure_group.last_release, ''))) THEN 1 ELSE 0 END,
       regressed_at = CASE WHEN mirepoix_failure_group.state = 'resolved'
                     AND (mirepoix_failure_group.resolved_in IS NULL OR VALUES(last_release) IS NULL OR VALUES(last_release) = mirepoix_failure_group.resolved_in
                          OR VALUES(last_release) NOT IN (coalesce(mirepoix_failure_group.first_release, ''), coalesce(mirepoix_failure_group.last_release, ''))) THEN {now} ELSE mirepoix_failure_group.regressed_at END,
       regressed_in = CASE WHEN mirepoix_failure_group.state = 'resolved'
                     AND (mirepoix_failure_group.resolved_in IS NULL OR VALUES(last_release) IS NULL OR VALUES(last_release) = mirepoix_failure_group.resolved_in
                          OR VALUES(last_release) NOT IN (coalesce(mirepoix_failure_group.first_release, ''), coalesce(mirepoix_failure_group.last_release, ''))) THEN VALUES(last_release) ELSE mirepoix_failure_group.regressed_in END,
       state = CASE WHEN mirepoix_failure_group.state = 'resolved'
                     AND (mirepoix_failure_group.resolved_in IS NULL OR VALUES(last_release) IS NULL OR VALUES(last_release) = mirepoix_failure_group.resolved_in
                          OR VALUES(last_release) NOT IN (coalesce(mirepoix_failure_group.first_release, ''), coalesce(mirepoix_failure_group.last_release, ''))) THEN 'open'
                    WHEN mirepoix_failure_group.state = 'ignored'
                     AND (mirepoix_failure_group.ignored_until <= {now} OR mirepoix_failure_group.failures + VALUES(failures) > mirepoix_failure_group.ignored_to
                          OR CASE WHEN mirepoix_failure_group.hour_at > {earlier 3600} THEN mirepoix_failure_group.hour_failures ELSE 0 END
                             + VALUES(failures) > mirepoix_failure_group.ignored_per_hour) THEN 'open'
                    ELSE mirepoix_failure_group.state END,
       hour_failures = CASE WHEN mirepoix_failure_group.hour_at > {earlier 3600} THEN mirepoix_failure_group.hour_failures ELSE 0 END + VALUES(failures),
       hour_at = CASE WHEN mirepoix_failure_group.hour_at > {earlier 3600} THEN mirepoix_failure_group.hour_at ELSE {now} END,
       failures = mirepoix_failure_group.failures + VALUES(failures), last_seen_at = {now},
       last_release = CASE WHEN VALUES(last_release) = mirepoix_failure_group.first_release THEN mirepoix_failure_group.last_release
                           ELSE coalesce(VALUES(last_release), mirepoix_failure_group.last_release) END,
       last_task_id = VALUES(last_task_id),
       name = VALUES(name), title = VALUES(title)
