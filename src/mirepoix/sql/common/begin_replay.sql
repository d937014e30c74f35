INSERT INTO mirepoix_replay (id, failure_group, began_by, reason, tasks, canaries, rate_per_s)
VALUES (:id, :failure_group, :began_by, :reason, :tasks, :canaries, :rate_per_s)
