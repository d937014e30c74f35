-- An index of the tasks that are ready again after a worker had them. docs/reference/schema.md explains every column.

-- Workers with a broker take these from the ledger. "mirepoix migrate" builds the index before this script, while
-- senders write (mirepoix.operations.indexes). Without that it is built here, and writes wait until it is there.
CREATE INDEX IF NOT EXISTS mirepoix_task_returned ON mirepoix_task (queue, priority DESC, seq)
 WHERE state = 'pending' AND due_at IS NULL AND fence > 0;
