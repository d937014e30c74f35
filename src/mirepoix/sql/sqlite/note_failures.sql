-- Failures of each group, appended in the transaction that records them. They change no shared row, so nobody waits.
INSERT INTO mirepoix_failure (failure_group, title, name, failures, in_release, task_id)
SELECT json_extract(value, '$.id'), json_extract(value, '$.title'), json_extract(value, '$.name'),
       json_extract(value, '$.failures'), :release, json_extract(value, '$.last_task_id')
  FROM json_each(:rows)
