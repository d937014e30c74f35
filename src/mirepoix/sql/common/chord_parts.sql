-- In the order of the header. A member without a position comes last.
SELECT task_id, status, result
  FROM mirepoix_chord_part
 WHERE group_id = :group_id
 ORDER BY CASE WHEN position IS NULL THEN 1 ELSE 0 END, position, task_id
