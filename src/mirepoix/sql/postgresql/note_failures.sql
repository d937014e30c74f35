-- Failures of each group, appended in the transaction that records them. They change no shared row, so nobody waits.
INSERT INTO mirepoix_failure (failure_group, title, name, failures, in_release, task_id)
SELECT r.id, r.title, r.name, r.failures, :release, r.last_task_id
  FROM json_to_recordset(CAST(:rows AS json)) AS r(id text, title text, name text, failures int, last_task_id text)
