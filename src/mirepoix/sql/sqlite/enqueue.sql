-- transition: new -> pending
-- One JSON array carries one call or ten thousand. A known task id is left alone (see rearm.sql).
INSERT INTO mirepoix_task ({envelope columns})
SELECT {envelope values}
  FROM {envelope rows}
 WHERE true
    ON CONFLICT (id) DO NOTHING
RETURNING id
