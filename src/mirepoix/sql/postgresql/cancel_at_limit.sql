-- transition: pending -> cancelled
-- A sender ends calls because their limit has no room. A call that a worker has just taken is left alone.
UPDATE mirepoix_task AS t
   SET state = 'cancelled', reason = :reason, finished_at = {now}
  FROM json_array_elements_text(CAST(:ids AS json)) AS w(id)
 WHERE t.id = w.id AND t.state = 'pending'
RETURNING t.id
