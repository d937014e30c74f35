-- Remote control, its replies and events: nothing that must survive.
INSERT INTO mirepoix_message (queue, exchange, message) VALUES (:queue, :exchange, :message)
