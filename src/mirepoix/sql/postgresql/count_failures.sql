-- Failures that this transaction took from mirepoix_failure: for each group, those of one release. They are counted in
-- the order of the groups' ids, so that two transactions with the same groups wait for each other and do not deadlock.
-- A resolved group with a later failure is open again: a regression. A failure in a release before the one that
-- resolves the group is not a regression. An ignored group is open again when its time, its number or its rate is
-- exceeded.
INSERT INTO mirepoix_failure_group AS g (id, title, name, failures, hour_failures, first_release, last_release, last_task_id,
       first_seen_at, last_seen_at, hour_at)
SELECT r.id, r.title, r.name, r.failures, r.failures, r.release, r.release, r.last_task_id, r.first_at, r.last_at, r.last_at
  FROM json_to_recordset(CAST(:rows AS json)) AS r(
       id text, title text, name text, failures int, release text, last_task_id text, first_at timestamptz, last_at timestamptz)
 ORDER BY r.id
    ON CONFLICT (id) DO UPDATE SET
       regressions = g.regressions
            + CASE WHEN g.state = 'resolved' AND excluded.last_seen_at >= g.decided_at
                     AND (g.resolved_in IS NULL OR excluded.last_release IS NULL OR excluded.last_release = g.resolved_in
                          OR excluded.last_release NOT IN (coalesce(g.first_release, ''), coalesce(g.last_release, ''))) THEN 1 ELSE 0 END,
       regressed_at = CASE WHEN g.state = 'resolved' AND excluded.last_seen_at >= g.decided_at
                     AND (g.resolved_in IS NULL OR excluded.last_release IS NULL OR excluded.last_release = g.resolved_in
                          OR excluded.last_release NOT IN (coalesce(g.first_release, ''), coalesce(g.last_release, ''))) THEN excluded.last_seen_at ELSE g.regressed_at END,
       regressed_in = CASE WHEN g.state = 'resolved' AND excluded.last_seen_at >= g.decided_at
                     AND (g.resolved_in IS NULL OR excluded.last_release IS NULL OR excluded.last_release = g.resolved_in
                          OR excluded.last_release NOT IN (coalesce(g.first_release, ''), coalesce(g.last_release, ''))) THEN excluded.last_release ELSE g.regressed_in END,
       state = CASE WHEN g.state = 'resolved' AND excluded.last_seen_at >= g.decided_at
                     AND (g.resolved_in IS NULL OR excluded.last_release IS NULL OR excluded.last_release = g.resolved_in
                          OR excluded.last_release NOT IN (coalesce(g.first_release, ''), coalesce(g.last_release, ''))) THEN 'open'
                    WHEN g.state = 'ignored'
                     AND (g.ignored_until <= excluded.last_seen_at OR g.failures + excluded.failures > g.ignored_to
                          OR CASE WHEN g.hour_at > excluded.last_seen_at - interval '1 hour' THEN g.hour_failures ELSE 0 END
                             + excluded.failures > g.ignored_per_hour) THEN 'open'
                    ELSE g.state END,
       hour_failures = CASE WHEN g.hour_at > excluded.last_seen_at - interval '1 hour' THEN g.hour_failures ELSE 0 END + excluded.failures,
       hour_at = CASE WHEN g.hour_at > excluded.last_seen_at - interval '1 hour' THEN g.hour_at ELSE excluded.last_seen_at END,
       failures = g.failures + excluded.failures,
       last_release = CASE WHEN excluded.last_release = g.first_release THEN g.last_release
                           ELSE coalesce(excluded.last_release, g.last_release) END,
       last_task_id = CASE WHEN excluded.last_seen_at >= g.last_seen_at THEN excluded.last_task_id ELSE g.last_task_id END,
       name = CASE WHEN excluded.last_seen_at >= g.last_seen_at THEN excluded.name ELSE g.name END,
       title = CASE WHEN excluded.last_seen_at >= g.last_seen_at THEN excluded.title ELSE g.title END,
       first_seen_at = least(g.first_seen_at, excluded.first_seen_at),
       last_seen_at = greatest(g.last_seen_at, excluded.last_seen_at)
