-- Do nothing: idle workers watch the file itself.
SELECT 1 AS woken
