-- The guard makes the body go out once: the transaction that ends the chord sends the body.
UPDATE mirepoix_chord SET state = :state, ended_at = {now} WHERE group_id = :group_id AND state = 'waiting'
RETURNING group_id
