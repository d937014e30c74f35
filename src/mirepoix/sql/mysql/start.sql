-- transition: leased -> running
-- From here on a death of the process is blamed on this task.
SELECT t.id
  FROM JSON_TABLE({json :rows}, '$[*]' COLUMNS (id {id} PATH '$.id', fence int PATH '$.fence')) AS r
  STRAIGHT_JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_id) ON t.id = r.id
 WHERE t.fence = r.fence AND t.worker_id = :worker_id AND t.state = 'leased'
   FOR UPDATE {of t}
;
UPDATE JSON_TABLE({json :rows}, '$[*]' COLUMNS (
           id {id} PATH '$.id', fence int PATH '$.fence', age_s double PATH '$.age_s', pid int PATH '$.pid')) AS r
  STRAIGHT_JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_id) ON t.id = r.id
   SET t.started_at = {earlier r.age_s}, t.pid = r.pid, t.state = 'running'
 WHERE t.fence = r.fence AND t.worker_id = :worker_id AND t.state = 'leased'
