-- transition: pending -> pending
-- What has come due joins the ready ones; from then on only its priority and age count.
UPDATE mirepoix_task
   SET due_at = NULL
 WHERE state = 'pending' AND due_at <= {now}
RETURNING id
