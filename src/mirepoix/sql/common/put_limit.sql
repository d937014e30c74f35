-- Change the values of a limit.
UPDATE mirepoix_limit
   SET running = :running, rate = :rate, period_s = :period_s, source = :source, changed_at = {now}, changed_by = :by
 WHERE name = :name
