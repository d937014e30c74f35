-- Ready and scheduled ones are counted each by an index of theirs.
SELECT (SELECT count(*) FROM mirepoix_task WHERE queue = :queue AND state = 'pending' AND due_at IS NULL)
     + (SELECT count(*) FROM mirepoix_task WHERE queue = :queue AND state = 'pending' AND due_at IS NOT NULL) AS tasks
