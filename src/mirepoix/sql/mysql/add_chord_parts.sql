-- A member counts once, however often it returns. The chords are locked, so nobody adds to them meanwhile.
SELECT r.group_id
  FROM JSON_TABLE({json :rows}, '$[*]' COLUMNS (group_id {id} PATH '$.group_id', task_id {id} PATH '$.task_id')) AS r
  LEFT JOIN mirepoix_chord_part AS p ON p.group_id = r.group_id AND p.task_id = r.task_id
 WHERE p.task_id IS NULL
;
INSERT INTO mirepoix_chord_part (group_id, task_id, position, status, result)
SELECT r.group_id, r.task_id, r.position, r.status, r.result
  FROM JSON_TABLE({json :rows}, '$[*]' COLUMNS (
           group_id {id} PATH '$.group_id', task_id {id} PATH '$.task_id', position int PATH '$.position',
           status {text} PATH '$.status', result {text} PATH '$.result')) AS r
  LEFT JOIN mirepoix_chord_part AS p ON p.group_id = r.group_id AND p.task_id = r.task_id
 WHERE p.task_id IS NULL
