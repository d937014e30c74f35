-- Nothing to do: whoever waits for remote control or events looks.
SELECT 1 AS woken
