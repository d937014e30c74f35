-- Delete the reply and event queues of clients that died.
DELETE FROM mirepoix_binding WHERE created_at < {earlier :older_than_s}
   AND (exchange = 'celeryev' OR exchange LIKE 'reply.%' )
