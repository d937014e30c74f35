-- Takes what waits for one queue.
DELETE FROM mirepoix_message WHERE queue = :queue AND queue <> ''
RETURNING id, message
