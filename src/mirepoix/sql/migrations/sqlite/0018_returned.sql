-- An index of the tasks that are ready again after a worker had them. docs/reference/schema.md explains every column.

-- Workers with a broker take these from the ledger.
CREATE INDEX mirepoix_task_returned ON mirepoix_task (queue, priority DESC, seq)
 WHERE state = 'pending' AND due_at IS NULL AND fence > 0;
