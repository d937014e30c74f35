-- The position where a new listener starts.
SELECT coalesce(max(id), 0) AS last_id FROM mirepoix_message WHERE exchange = :exchange
