-- transition: succeeded|failed|cancelled|expired -> pending
-- A finished task's id was sent again: the same task begins a new generation. Its fence keeps rising.
UPDATE mirepoix_task AS t
   SET state = 'pending', reason = NULL, generation = t.generation + 1, deaths = 0, handovers = 0, is_suspect = 0,
       {envelope changes},
       root_id = r.root_id, parent_id = r.parent_id, group_id = r.group_id,
       requeued_at = {now}, leased_at = NULL, started_at = NULL, finished_at = NULL, run_time_s = NULL, peak_memory_kb = NULL,
       sent_fence = CASE WHEN r.sent_fence IS NOT NULL THEN -1 END
  FROM {envelope rows}
 WHERE t.id = r.id AND t.state IN ('succeeded', 'failed', 'cancelled', 'expired')
RETURNING id
