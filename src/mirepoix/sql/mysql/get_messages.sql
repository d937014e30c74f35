-- Take the messages of a queue.
SELECT id, message FROM mirepoix_message WHERE queue = :queue AND queue <> '' FOR UPDATE
;
DELETE m
  FROM JSON_TABLE({json :found}, '$[*]' COLUMNS (id bigint PATH '$')) AS found
  STRAIGHT_JOIN mirepoix_message AS m ON m.id = found.id
 WHERE m.queue = :queue
