-- How many fire times of each schedule of the last :seconds have which state.
SELECT s.id, f.state, count(*) AS fires
  FROM mirepoix_schedule AS s
  JOIN mirepoix_fire AS f ON f.schedule_id = s.id AND f.fire_at > {earlier :seconds}
 WHERE s.removed_at IS NULL
 GROUP BY s.id, f.state
 ORDER BY s.id, f.state
