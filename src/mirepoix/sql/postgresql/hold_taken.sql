-- transition: leased -> pending
-- A worker took these tasks, and their name is paused. Their fences stay raised. Nothing is changed if the name has been
-- resumed.
UPDATE mirepoix_task AS t
   SET state = 'pending', worker_id = NULL, due_at = {held_until}, held_by = :held_by
 WHERE t.worker_id = :worker_id AND t.state = 'leased' AND t.name = :name
   AND EXISTS (SELECT 1 FROM mirepoix_hold AS h WHERE h.kind = 'task' AND h.value = :name)
   AND EXISTS (SELECT 1 FROM json_to_recordset(CAST(:rows AS json)) AS r(id text, fence int)
                WHERE r.id = t.id AND t.fence = r.fence)
RETURNING t.id
