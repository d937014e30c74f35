-- The broker has confirmed these. A locked row is being taken and does not need this mark.
WITH confirmed AS (
    SELECT t.id
      FROM json_to_recordset(CAST(:rows AS json)) AS r(id text, fence int)
     CROSS JOIN LATERAL (SELECT id, fence, state, due_at
                           FROM mirepoix_task
                          WHERE id = r.id
                         OFFSET 0
                            FOR UPDATE SKIP LOCKED) AS t
     WHERE t.fence = r.fence AND t.state = 'pending' AND t.due_at IS NULL
)
UPDATE mirepoix_task AS t
   SET sent_fence = t.fence, sent_at = statement_timestamp(), sendings = t.sendings + 1
  FROM confirmed
 WHERE t.id = confirmed.id
