-- Lock in one order, so that two transactions that finish members of the same chords do not deadlock.
SELECT group_id
  FROM mirepoix_chord
 WHERE group_id IN (SELECT value FROM json_array_elements_text(CAST(:group_ids AS json)) AS w(value)) AND state = 'waiting'
 ORDER BY group_id
   FOR UPDATE
