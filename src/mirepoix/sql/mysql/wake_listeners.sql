-- Do nothing: processes that wait for remote control or events poll.
SELECT 1 AS woken
