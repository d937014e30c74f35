-- What was broadcast since the last look. Everyone reads it; age deletes it.
SELECT id, message FROM mirepoix_message WHERE exchange = :exchange AND id > :after ORDER BY id
