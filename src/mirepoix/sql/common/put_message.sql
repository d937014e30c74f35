-- Remote control, its replies and events. These messages need not survive.
INSERT INTO mirepoix_message (queue, exchange, message) VALUES (:queue, :exchange, :message)
