-- transition: pending -> pending
-- The sender of a unique task replaces a call that still waits: its arguments, its time, its queue. It is a new
-- generation, so that a message about the old call is stale.
UPDATE mirepoix_task AS t
   SET reason = NULL, generation = t.generation + 1, deaths = 0, handovers = 0, is_suspect = 0,
       {envelope changes},
       root_id = r.root_id, parent_id = r.parent_id, group_id = r.group_id, requeued_at = {now},
       sent_fence = CASE WHEN r.sent_fence IS NOT NULL THEN -1 END
  FROM {envelope rows}
 WHERE t.id = r.id AND t.state = 'pending'
RETURNING id
