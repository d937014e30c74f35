-- transition: new -> pending
-- One JSON array carries one call or ten thousand. A known task id is left alone (see rearm.sql).
-- at first taken to be every "id" of :rows
SELECT r.id
  FROM JSON_TABLE({json :rows}, '$[*]' COLUMNS (id {id} PATH '$.id')) AS r
  LEFT JOIN mirepoix_task AS t ON t.id = r.id
 WHERE t.id IS NULL
;
INSERT INTO mirepoix_task ({envelope columns})
SELECT {envelope values}
  FROM {envelope rows}
 WHERE r.id IN (SELECT found.id FROM {found})
 ORDER BY r.number
