-- transition: pending -> pending
-- Due tasks become ready. From then on only their priority and age count. A row that somebody's open transaction has
-- locked waits for the next sweep.
UPDATE mirepoix_task
   SET due_at = NULL
 WHERE id IN (SELECT due.id FROM mirepoix_task AS due
               WHERE due.state = 'pending' AND due.due_at <= {now}
                 FOR UPDATE SKIP LOCKED)
RETURNING id
