-- Every failure of these groups, counted in the transaction that records it. In the order of their ids, so that two who count
-- the same groups wait for each other and never in a ring. What was resolved and fails again is open again: a regression. But not
-- if it fails where it was known to fail, in a release before the one it is resolved in. What is ignored is open again when its
-- time, its number or its rate is over.
INSERT INTO mirepoix_failure_group AS g (id, title, name, failures, hour_failures, first_release, last_release, last_task_id)
SELECT json_extract(value, '$.id'), json_extract(value, '$.title'), json_extract(value, '$.name'),
       json_extract(value, '$.failures'), json_extract(value, '$.failures'), :release, :release,
       json_extract(value, '$.last_task_id')
  FROM json_each(:rows)
 WHERE true
    ON CONFLICT (id) DO UPDATE SET
       regressions = g.regressions
            + CASE WHEN g.state = 'resolved'
                     AND (g.resolved_in IS NULL OR excluded.last_release IS NULL OR excluded.last_release = g.resolved_in
                          OR excluded.last_release NOT IN (coalesce(g.first_release, ''), coalesce(g.last_release, ''))) THEN 1 ELSE 0 END,
       regressed_at = CASE WHEN g.state = 'resolved'
                     AND (g.resolved_in IS NULL OR excluded.last_release IS NULL OR excluded.last_release = g.resolved_in
                          OR excluded.last_release NOT IN (coalesce(g.first_release, ''), coalesce(g.last_release, ''))) THEN {now} ELSE g.regressed_at END,
       regressed_in = CASE WHEN g.state = 'resolved'
                     AND (g.resolved_in IS NULL OR excluded.last_release IS NULL OR excluded.last_release = g.resolved_in
                          OR excluded.last_release NOT IN (coalesce(g.first_release, ''), coalesce(g.last_release, ''))) THEN excluded.last_release ELSE g.regressed_in END,
       state = CASE WHEN g.state = 'resolved'
                     AND (g.resolved_in IS NULL OR excluded.last_release IS NULL OR excluded.last_release = g.resolved_in
                          OR excluded.last_release NOT IN (coalesce(g.first_release, ''), coalesce(g.last_release, ''))) THEN 'open'
                    WHEN g.state = 'ignored'
                     AND (g.ignored_until <= {now} OR g.failures + excluded.failures > g.ignored_to
                          OR CASE WHEN g.hour_at > {earlier 3600} THEN g.hour_failures ELSE 0 END
                             + excluded.failures > g.ignored_per_hour) THEN 'open'
                    ELSE g.state END,
       hour_failures = CASE WHEN g.hour_at > {earlier 3600} THEN g.hour_failures ELSE 0 END + excluded.failures,
       hour_at = CASE WHEN g.hour_at > {earlier 3600} THEN g.hour_at ELSE {now} END,
       failures = g.failures + excluded.failures, last_seen_at = {now},
       last_release = CASE WHEN excluded.last_release = g.first_release THEN g.last_release
                           ELSE coalesce(excluded.last_release, g.last_release) END,
       last_task_id = excluded.last_task_id,
       name = excluded.name, title = excluded.title
