-- The broker was told of these and nobody has taken them for so long that it must have lost them. Each time it waits twice
-- as long, up to 64 times. What it did not lose comes twice, and is refused the second time.
UPDATE mirepoix_task
   SET sent_fence = -1
 WHERE queue = :queue AND state = 'pending' AND due_at IS NULL AND sent_fence = fence
   AND sent_at < {earlier (:deadline_s * (1 << CASE WHEN sendings > 6 THEN 6 ELSE sendings - 1 END))}
