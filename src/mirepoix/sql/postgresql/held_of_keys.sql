-- How many tasks of each key workers hold now.
SELECT w.id AS limit_key, held.tasks
  FROM json_array_elements_text(CAST(:keys AS json)) AS w(id)
 CROSS JOIN LATERAL (SELECT count(*) AS tasks
                       FROM mirepoix_task
                      WHERE limit_key = w.id AND state IN ('leased', 'running') AND limit_key IS NOT NULL) AS held
