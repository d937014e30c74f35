-- add_to_chord: the chord waits for one more member.
UPDATE mirepoix_chord SET size = size + :by WHERE group_id = :group_id AND state = 'waiting'
