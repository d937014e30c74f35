INSERT INTO mirepoix_migration (name) VALUES (:name)
