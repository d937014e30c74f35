-- Written with the chord's members. A frozen chord that is sent again is a new run under the same id.
INSERT INTO mirepoix_chord (group_id, size) VALUES (:group_id, :size)
    ON DUPLICATE KEY UPDATE
       size = :size, done = CASE WHEN state = 'waiting' THEN done ELSE 0 END, ended_at = NULL, state = 'waiting'
