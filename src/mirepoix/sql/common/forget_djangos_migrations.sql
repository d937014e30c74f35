-- What Django has noted as applied: the tables are gone, and its next migrate shall make them.
DELETE FROM django_migrations WHERE app = 'mirepoix'
