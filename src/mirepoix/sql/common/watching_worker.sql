-- The worker that checks the conditions for alerts: the oldest worker that is alive. Two of them for a moment do no
-- harm.
SELECT id FROM mirepoix_worker WHERE state = 'alive' AND alive_until > {now} ORDER BY liveness_key LIMIT 1
