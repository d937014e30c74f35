SELECT name FROM mirepoix_migration ORDER BY name
