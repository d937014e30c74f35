SELECT routing_key, pattern, queue FROM mirepoix_binding WHERE exchange = :exchange
