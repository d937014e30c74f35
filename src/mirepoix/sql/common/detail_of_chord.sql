-- The progress of the chord of which a task is a member.
SELECT state, done, size FROM mirepoix_chord WHERE group_id = :group_id
