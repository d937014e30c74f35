-- The keys of these tasks that have a limit.
SELECT id, limit_key FROM mirepoix_task WHERE id IN (SELECT value FROM json_each(:ids)) AND limit_key IS NOT NULL
