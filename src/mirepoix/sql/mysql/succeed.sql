-- transition: leased|running -> succeeded
-- Because of the fence, a late write from a lost attempt changes no row.
SELECT t.id
  FROM JSON_TABLE({json :rows}, '$[*]' COLUMNS (id {id} PATH '$.id', fence int PATH '$.fence')) AS r
  STRAIGHT_JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_id) ON t.id = r.id
 WHERE t.fence = r.fence AND t.worker_id = :worker_id AND t.state IN ('leased', 'running')
   FOR UPDATE {of t}
;
UPDATE JSON_TABLE({json :rows}, '$[*]' COLUMNS (
           id {id} PATH '$.id', fence int PATH '$.fence', run_time_s double PATH '$.run_time_s',
           peak_memory_kb bigint PATH '$.peak_memory_kb', reason {text} PATH '$.reason', pid int PATH '$.pid')) AS r
  STRAIGHT_JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_id) ON t.id = r.id
   SET t.finished_at = {now}, t.run_time_s = r.run_time_s,
       t.started_at = coalesce(t.started_at, {earlier coalesce(r.run_time_s, 0)}),
       t.peak_memory_kb = r.peak_memory_kb, t.reason = r.reason, t.pid = r.pid, t.state = 'succeeded'
 WHERE t.fence = r.fence AND t.worker_id = :worker_id AND t.state IN ('leased', 'running')
