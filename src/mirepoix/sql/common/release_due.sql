-- transition: pending -> pending
-- Due tasks become ready. From then on only their priority and age count.
UPDATE mirepoix_task
   SET due_at = NULL
 WHERE state = 'pending' AND due_at <= {now}
RETURNING id
