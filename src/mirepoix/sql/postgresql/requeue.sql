-- transition: failed|quarantined|parked|cancelled|expired -> pending
-- A person decided to run the task again at once, with all its retries. A passed expiry is removed. jsonb refuses an
-- escaped NUL or half a surrogate pair. If there may be one, json is used, where the later of two equal keys counts.
UPDATE mirepoix_task
   SET state = 'pending', reason = :reason, generation = generation + 1, deaths = 0, handovers = 0, is_suspect = 0, retries = 0,
       headers = CASE WHEN CAST(headers AS text) ~ '\\u(0000|[dD][89a-fA-F])'
                      THEN CAST(regexp_replace(CAST(headers AS text), '\}\s*$', ', "retries": 0, "expires": null}') AS json)
                      ELSE CAST(CAST(headers AS jsonb) || '{"retries": 0, "expires": null}' AS json) END,
       due_at = NULL, requeued_at = {now}, expires_at = NULL, finished_at = NULL, sent_fence = CASE WHEN sent_fence IS NOT NULL THEN -1 END,
       parked_for = NULL
 WHERE id = :task_id AND state IN ('failed', 'quarantined', 'parked', 'cancelled', 'expired')
RETURNING id
