-- The calls of a limit key that have not ended, which a sender counts if its call is to be dropped at the limit, or to
-- cancel older ones. open_key replaces the partial index of the other databases: it is NULL for all other tasks.
ALTER TABLE mirepoix_task
  ADD COLUMN open_key varchar(255)
      GENERATED ALWAYS AS (CASE WHEN state IN ('pending', 'leased', 'running') THEN limit_key END)
      VIRTUAL INVISIBLE;
ALTER TABLE mirepoix_task
  ADD KEY mirepoix_task_calls (open_key);
