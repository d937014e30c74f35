-- Written with the chord's members. A frozen chord that is sent again is a new run under the same id.
INSERT INTO mirepoix_chord AS kept (group_id, size) VALUES (:group_id, :size)
    ON CONFLICT (group_id) DO UPDATE
   SET size = excluded.size, done = CASE WHEN kept.state = 'waiting' THEN kept.done ELSE 0 END, state = 'waiting', ended_at = NULL
