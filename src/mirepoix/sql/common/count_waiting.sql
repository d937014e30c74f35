SELECT count(*) FROM mirepoix_task WHERE queue = :queue AND state = 'pending'
