-- An index of the tasks that are ready again after a worker had them. docs/reference/schema.md explains every column.

-- is_returned replaces the partial index of the other databases. Workers with a broker take these tasks from the ledger.
-- Two statements, because MariaDB would lock the table during one: it adds a column at once, and an index while others
-- write.
ALTER TABLE mirepoix_task
  ADD COLUMN is_returned tinyint
      GENERATED ALWAYS AS (CASE WHEN state = 'pending' AND due_at IS NULL AND fence > 0 THEN 1 END) VIRTUAL INVISIBLE;
ALTER TABLE mirepoix_task
  ADD KEY mirepoix_task_returned (is_returned, queue, priority DESC, seq);
