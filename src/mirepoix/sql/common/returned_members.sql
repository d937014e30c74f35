-- The members of a chord that have returned, as far as it still waits. Their tasks may be pruned.
SELECT p.task_id, p.status, t.name, t.state
  FROM mirepoix_chord_part AS p
  LEFT JOIN mirepoix_task AS t ON t.id = p.task_id
 WHERE p.group_id = :group_id
 ORDER BY p.position, p.task_id
 LIMIT :most
