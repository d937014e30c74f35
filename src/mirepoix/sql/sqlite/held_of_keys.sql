-- How many tasks of each key workers hold now.
SELECT w.value AS limit_key,
       (SELECT count(*)
          FROM mirepoix_task INDEXED BY mirepoix_task_slots
         WHERE limit_key = w.value AND state IN ('leased', 'running') AND limit_key IS NOT NULL) AS tasks
  FROM json_each(:keys) AS w
