-- Nothing to do: idle workers look.
SELECT 1 AS woken
