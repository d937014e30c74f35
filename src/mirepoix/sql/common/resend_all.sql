-- The broker has lost the messages that it got before :older_than_s.
UPDATE mirepoix_task
   SET sent_fence = -1
 WHERE queue = :queue AND state = 'pending' AND due_at IS NULL AND sent_fence = fence AND sent_at < {earlier :older_than_s}
