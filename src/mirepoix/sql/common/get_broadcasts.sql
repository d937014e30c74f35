-- The broadcasts since the last read. Every listener reads them, and age deletes them.
SELECT id, message FROM mirepoix_message WHERE exchange = :exchange AND id > :after ORDER BY id
