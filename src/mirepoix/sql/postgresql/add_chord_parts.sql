-- A member counts once, however often it returns.
INSERT INTO mirepoix_chord_part (group_id, task_id, position, status, result)
SELECT r.group_id, r.task_id, r.position, r.status, r.result
  FROM json_to_recordset(CAST(:rows AS json)) AS r(group_id text, task_id text, position int, status text, result text)
    ON CONFLICT (group_id, task_id) DO NOTHING
RETURNING group_id
