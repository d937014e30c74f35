-- Written while no broker stood in front of the ledger: from now on the relay publishes them. No LIMIT in a subquery here.
UPDATE mirepoix_task
   SET sent_fence = -1
 WHERE state = 'pending' AND due_at IS NULL AND sent_fence IS NULL
 LIMIT :batch
