-- Shows whether messages came or went: the newest message, and how many of the last hundred exist, because a lower id
-- may commit later. Also the newest task of all, for a worker that takes from no queue.
SELECT (SELECT max(id) FROM mirepoix_message) AS last_message,
       (SELECT count(*) FROM mirepoix_message WHERE id > (SELECT max(id) - 100 FROM mirepoix_message)) AS messages,
       (SELECT max(seq) FROM mirepoix_task) AS last_task
