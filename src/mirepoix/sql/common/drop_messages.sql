-- The queue was deleted or purged.
DELETE FROM mirepoix_message WHERE queue = :queue AND queue <> ''
