-- A queue that one of these tasks went through: somebody takes from it.
SELECT queue FROM mirepoix_task WHERE id IN (SELECT value FROM json_array_elements_text(CAST(:ids AS json)) AS w(value)) LIMIT 1
