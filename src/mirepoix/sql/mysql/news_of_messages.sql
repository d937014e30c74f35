-- What tells that messages came or went: the newest one, and how many of the last hundred there are, as one with a lower
-- id may be committed later. And the newest task of all, for who takes from no queue.
SELECT (SELECT max(id) FROM mirepoix_message) AS last_message,
       (SELECT count(*) FROM mirepoix_message WHERE id > (SELECT max(id) - 100 FROM mirepoix_message)) AS messages,
       (SELECT max(seq) FROM mirepoix_task) AS last_task
