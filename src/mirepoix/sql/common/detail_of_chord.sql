-- How far the chord has come whose member a task is.
SELECT state, done, size FROM mirepoix_chord WHERE group_id = :group_id
