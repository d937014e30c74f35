-- A queue gets a new probe, unless its last one was sent less than :every_s ago, or still waits or runs.
UPDATE mirepoix_probe
   SET task_id = :task_id, asked_at = {now}, done_at = NULL
 WHERE queue = :queue AND asked_at < {earlier :every_s}
   AND (done_at IS NOT NULL
        OR NOT EXISTS (SELECT 1 FROM mirepoix_task AS t
                        WHERE t.id = mirepoix_probe.task_id AND t.state IN ('pending', 'leased', 'running')))
