-- These tasks were published, and no worker has taken them for so long that the broker must have lost them. The wait
-- doubles each time, up to 64 times. If the broker did not lose a message, it arrives twice, and the second is refused.
UPDATE mirepoix_task
   SET sent_fence = -1
 WHERE queue = :queue AND state = 'pending' AND due_at IS NULL AND sent_fence = fence
   AND sent_at < {earlier (:deadline_s * (1 << CASE WHEN sendings > 6 THEN 6 ELSE sendings - 1 END))}
