-- Failures that this transaction took from mirepoix_failure: for each group, those of one release. They are counted in
-- the order of the groups' ids, so that two transactions with the same groups wait for each other and do not deadlock.
-- A resolved group with a later failure is open again: a regression. A failure in a release before the one that
-- resolves the group is not a regression. An ignored group is open again when its time, its number or its rate is
-- exceeded. MySQL assigns from left to right, so no assignment reads a column that an earlier one wrote.
INSERT INTO mirepoix_failure_group (id, title, name, failures, hour_failures, first_release, last_release, last_task_id,
       first_seen_at, last_seen_at, hour_at)
SELECT r.id, r.title, r.name, r.failures, r.failures, r.in_release, r.in_release, r.last_task_id, r.first_at, r.last_at, r.last_at
  FROM JSON_TABLE({json :rows}, '$[*]' COLUMNS (
           id {id} PATH '$.id', title {text} PATH '$.title', name {text} PATH '$.name', failures int PATH '$.failures',
           in_release {id} PATH '$.release', last_task_id {id} PATH '$.last_task_id',
           first_at datetime(6) PATH '$.first_at', last_at datetime(6) PATH '$.last_at')) AS r
 ORDER BY r.id
    ON DUPLICATE KEY UPDATE
       regressions = mirepoix_failure_group.regressions
            + CASE WHEN mirepoix_failure_group.state = 'resolved' AND VALUES(last_seen_at) >= mirepoix_failure_group.decided_at
                     AND (mirepoix_failure_group.resolved_in IS NULL OR VALUES(last_release) IS NULL OR VALUES(last_release) = mirepoix_failure_group.resolved_in
                          OR VALUES(last_release) NOT IN (coalesce(mirepoix_failure_group.first_release, ''), coalesce(mirepoix_failure_group.last_release, ''))) THEN 1 ELSE 0 END,
       regressed_at = CASE WHEN mirepoix_failure_group.state = 'resolved' AND VALUES(last_seen_at) >= mirepoix_failure_group.decided_at
                     AND (mirepoix_failure_group.resolved_in IS NULL OR VALUES(last_release) IS NULL OR VALUES(last_release) = mirepoix_failure_group.resolved_in
                          OR VALUES(last_release) NOT IN (coalesce(mirepoix_failure_group.first_release, ''), coalesce(mirepoix_failure_group.last_release, ''))) THEN VALUES(last_seen_at) ELSE mirepoix_failure_group.regressed_at END,
       regressed_in = CASE WHEN mirepoix_failure_group.state = 'resolved' AND VALUES(last_seen_at) >= mirepoix_failure_group.decided_at
                     AND (mirepoix_failure_group.resolved_in IS NULL OR VALUES(last_release) IS NULL OR VALUES(last_release) = mirepoix_failure_group.resolved_in
                          OR VALUES(last_release) NOT IN (coalesce(mirepoix_failure_group.first_release, ''), coalesce(mirepoix_failure_group.last_release, ''))) THEN VALUES(last_release) ELSE mirepoix_failure_group.regressed_in END,
       state = CASE WHEN mirepoix_failure_group.state = 'resolved' AND VALUES(last_seen_at) >= mirepoix_failure_group.decided_at
                     AND (mirepoix_failure_group.resolved_in IS NULL OR VALUES(last_release) IS NULL OR VALUES(last_release) = mirepoix_failure_group.resolved_in
                          OR VALUES(last_release) NOT IN (coalesce(mirepoix_failure_group.first_release, ''), coalesce(mirepoix_failure_group.last_release, ''))) THEN 'open'
                    WHEN mirepoix_failure_group.state = 'ignored'
                     AND (mirepoix_failure_group.ignored_until <= VALUES(last_seen_at) OR mirepoix_failure_group.failures + VALUES(failures) > mirepoix_failure_group.ignored_to
                          OR CASE WHEN mirepoix_failure_group.hour_at > VALUES(last_seen_at) - INTERVAL 1 HOUR THEN mirepoix_failure_group.hour_failures ELSE 0 END
                             + VALUES(failures) > mirepoix_failure_group.ignored_per_hour) THEN 'open'
                    ELSE mirepoix_failure_group.state END,
       hour_failures = CASE WHEN mirepoix_failure_group.hour_at > VALUES(last_seen_at) - INTERVAL 1 HOUR THEN mirepoix_failure_group.hour_failures ELSE 0 END + VALUES(failures),
       hour_at = CASE WHEN mirepoix_failure_group.hour_at > VALUES(last_seen_at) - INTERVAL 1 HOUR THEN mirepoix_failure_group.hour_at ELSE VALUES(last_seen_at) END,
       failures = mirepoix_failure_group.failures + VALUES(failures),
       last_release = CASE WHEN VALUES(last_release) = mirepoix_failure_group.first_release THEN mirepoix_failure_group.last_release
                           ELSE coalesce(VALUES(last_release), mirepoix_failure_group.last_release) END,
       last_task_id = CASE WHEN VALUES(last_seen_at) >= mirepoix_failure_group.last_seen_at THEN VALUES(last_task_id) ELSE mirepoix_failure_group.last_task_id END,
       name = CASE WHEN VALUES(last_seen_at) >= mirepoix_failure_group.last_seen_at THEN VALUES(name) ELSE mirepoix_failure_group.name END,
       title = CASE WHEN VALUES(last_seen_at) >= mirepoix_failure_group.last_seen_at THEN VALUES(title) ELSE mirepoix_failure_group.title END,
       first_seen_at = least(mirepoix_failure_group.first_seen_at, VALUES(first_seen_at)),
       last_seen_at = greatest(mirepoix_failure_group.last_seen_at, VALUES(last_seen_at))
