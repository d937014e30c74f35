-- A person changed the priority of a waiting task. With a broker the relay publishes it again, with that priority.
UPDATE mirepoix_task
   SET priority = :priority, sent_fence = CASE WHEN sent_fence IS NOT NULL THEN -1 END
 WHERE id = :task_id AND state = 'pending' AND priority <> :priority
RETURNING id
