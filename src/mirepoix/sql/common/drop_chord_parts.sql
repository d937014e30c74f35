DELETE FROM mirepoix_chord_part WHERE group_id = :group_id
