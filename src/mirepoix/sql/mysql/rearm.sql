-- transition: succeeded|failed|cancelled|expired -> pending
-- A finished task's id was sent again: the same task begins a new generation. Its fence keeps rising.
SELECT t.id
  FROM JSON_TABLE({json :rows}, '$[*]' COLUMNS (id {id} PATH '$.id')) AS r
  STRAIGHT_JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_id) ON t.id = r.id
 WHERE t.state IN ('succeeded', 'failed', 'cancelled', 'expired')
   FOR UPDATE {of t}
;
UPDATE {envelope rows}
  STRAIGHT_JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_id) ON t.id = r.id
   SET t.reason = NULL, t.generation = t.generation + 1, t.deaths = 0, t.handovers = 0, t.is_suspect = 0,
       {envelope changes},
       t.root_id = r.root_id, t.parent_id = r.parent_id, t.group_id = r.group_id,
       t.requeued_at = {now}, t.leased_at = NULL, t.started_at = NULL, t.finished_at = NULL, t.run_time_s = NULL, t.peak_memory_kb = NULL,
       t.sent_fence = CASE WHEN r.sent_fence IS NOT NULL THEN -1 END, t.state = 'pending'
 WHERE t.state IN ('succeeded', 'failed', 'cancelled', 'expired')
