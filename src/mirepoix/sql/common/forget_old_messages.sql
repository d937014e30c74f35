-- Delete broadcasts that every listener has read, and replies that nobody will read.
DELETE FROM mirepoix_message WHERE created_at < {earlier :older_than_s}
