SELECT count(*) FROM mirepoix_message WHERE queue = :queue
