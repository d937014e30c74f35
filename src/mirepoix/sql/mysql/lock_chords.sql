-- Lock in one order, that of the sorted array, so that two transactions that finish members of the same chords do not
-- deadlock.
SELECT c.group_id
  FROM JSON_TABLE({json :group_ids}, '$[*]' COLUMNS (id {id} PATH '$')) AS w
  STRAIGHT_JOIN mirepoix_chord AS c ON c.group_id = w.id
 WHERE c.state = 'waiting'
   FOR UPDATE {of c}
