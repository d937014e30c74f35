DELETE FROM mirepoix_binding WHERE queue = :queue
