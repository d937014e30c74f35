-- Failures of each group, appended in the transaction that records them. They change no shared row, so nobody waits.
INSERT INTO mirepoix_failure (failure_group, title, name, failures, in_release, task_id)
SELECT r.id, r.title, r.name, r.failures, :release, r.last_task_id
  FROM JSON_TABLE({json :rows}, '$[*]' COLUMNS (
           id {id} PATH '$.id', title {text} PATH '$.title', name {text} PATH '$.name', failures int PATH '$.failures',
           last_task_id {id} PATH '$.last_task_id')) AS r
