-- A member counts once, however often it returns.
INSERT INTO mirepoix_chord_part (group_id, task_id, position, status, result)
SELECT json_extract(value, '$.group_id'), json_extract(value, '$.task_id'), json_extract(value, '$.position'),
       json_extract(value, '$.status'), json_extract(value, '$.result')
  FROM json_each(:rows)
 WHERE true
    ON CONFLICT (group_id, task_id) DO NOTHING
RETURNING group_id
