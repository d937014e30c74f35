-- The UPDATE computes the answer.
SELECT CASE WHEN done + :returned >= size THEN 1 ELSE 0 END AS is_complete
  FROM mirepoix_chord
 WHERE group_id = :group_id AND state = 'waiting'
   FOR UPDATE
;
UPDATE mirepoix_chord SET done = done + :returned WHERE group_id = :group_id AND state = 'waiting'
