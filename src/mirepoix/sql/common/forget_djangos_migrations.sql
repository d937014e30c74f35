-- Delete Django's record of applied migrations. The tables are gone, and the next migrate has to create them.
DELETE FROM django_migrations WHERE app = 'mirepoix'
