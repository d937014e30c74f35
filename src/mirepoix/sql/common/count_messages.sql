SELECT count(*) AS messages FROM mirepoix_message WHERE queue = :queue
