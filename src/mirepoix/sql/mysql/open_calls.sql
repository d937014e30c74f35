-- The calls of a limit key that have not ended, at most :most of them. It does not lock: a worker that records the outcome
-- of such a call would wait for the sender's transaction.
SELECT id, state, seq
  FROM mirepoix_task FORCE INDEX (mirepoix_task_calls)
 WHERE open_key = :key
 LIMIT :most
