-- The guard makes the body go out once: whoever ends the chord sends it, in the same transaction.
UPDATE mirepoix_chord SET state = :state, ended_at = {now} WHERE group_id = :group_id AND state = 'waiting'
RETURNING group_id
