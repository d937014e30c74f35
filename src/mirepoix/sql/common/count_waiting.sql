-- Ready and scheduled tasks are counted through separate indexes.
SELECT (SELECT count(*) FROM mirepoix_task WHERE queue = :queue AND state = 'pending' AND due_at IS NULL)
     + (SELECT count(*) FROM mirepoix_task WHERE queue = :queue AND state = 'pending' AND due_at IS NOT NULL) AS tasks
