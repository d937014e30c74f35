-- A probe has run. An earlier probe of the queue, or a second run of this one, changes nothing.
UPDATE mirepoix_probe
   SET took_s = -({seconds_until asked_at}), done_at = {now}
 WHERE queue = :queue AND task_id = :task_id AND done_at IS NULL
