-- The progress of a task's chord.
SELECT state, done, size FROM mirepoix_chord WHERE group_id = :group_id
