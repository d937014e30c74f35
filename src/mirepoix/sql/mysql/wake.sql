-- Do nothing: idle workers poll.
SELECT 1 AS woken
