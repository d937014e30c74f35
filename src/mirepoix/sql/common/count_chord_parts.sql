UPDATE mirepoix_chord SET done = done + :returned WHERE group_id = :group_id AND state = 'waiting'
RETURNING CASE WHEN done >= size THEN 1 ELSE 0 END AS is_complete
