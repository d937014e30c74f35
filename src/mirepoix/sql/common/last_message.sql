-- Where a new listener begins.
SELECT coalesce(max(id), 0) FROM mirepoix_message WHERE exchange = :exchange
