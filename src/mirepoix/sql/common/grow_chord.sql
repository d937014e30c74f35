-- add_to_chord: one member more is waited for.
UPDATE mirepoix_chord SET size = size + :by WHERE group_id = :group_id AND state = 'waiting'
