-- How long the oldest ready task that is not published yet has been ready, in seconds; null if there is none.
SELECT max({waited_s t}) AS oldest_s FROM mirepoix_task AS t WHERE t.state = 'pending' AND t.due_at IS NULL AND t.sent_fence <> t.fence
