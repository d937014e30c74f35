-- Every group (of one id, or of all), with the tasks that are kept because of it, and those that wait or run after it.
SELECT g.id, g.title, g.name, g.state, g.failures, g.first_seen_at, g.last_seen_at, g.first_release, g.last_release,
       g.last_task_id, CASE WHEN g.hour_at > {earlier 3600} THEN g.hour_failures ELSE 0 END AS last_hour,
       g.decided_at, g.decided_by, g.note, g.resolved_in, g.ignored_until, g.ignored_to, g.ignored_per_hour,
       g.regressed_at, g.regressed_in, g.regressions, -({seconds_until g.first_seen_at}) AS first_seen_s,
       -({seconds_until g.last_seen_at}) AS last_seen_s, {seconds_until g.ignored_until} AS ignored_s,
       (SELECT count(*) FROM mirepoix_task AS t {by mirepoix_task_failure} WHERE t.failure_group = g.id AND t.state IN ('failed', 'quarantined')) AS kept,
       (SELECT count(*) FROM mirepoix_task AS t {by mirepoix_task_failure} WHERE t.failure_group = g.id AND t.state IN ('pending', 'leased', 'running')) AS waiting
  FROM mirepoix_failure_group AS g
 WHERE substr(g.id, 1, :letters) = :beginning
