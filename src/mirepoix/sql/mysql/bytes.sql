-- The size of the ledger on disk: its tables with their indexes, as the server estimates.
SELECT coalesce(sum(data_length + index_length), 0) AS bytes
  FROM information_schema.tables
 WHERE table_schema = DATABASE() AND table_name LIKE 'mirepoix!_%' ESCAPE '!'
