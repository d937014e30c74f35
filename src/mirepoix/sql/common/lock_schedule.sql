-- Lock a schedule until the end of the transaction.
UPDATE mirepoix_schedule SET failures = failures WHERE id = :name
