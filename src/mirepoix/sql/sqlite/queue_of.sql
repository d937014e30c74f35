-- A queue that one of these tasks went through: somebody takes from it.
SELECT queue FROM mirepoix_task WHERE id IN (SELECT value FROM json_each(:ids)) LIMIT 1
