-- Broadcasts that everyone has read, and replies that nobody will.
DELETE FROM mirepoix_message WHERE created_at < {earlier :older_than_s}
