-- Take the messages of a queue.
DELETE FROM mirepoix_message WHERE queue = :queue AND queue <> ''
RETURNING id, message
