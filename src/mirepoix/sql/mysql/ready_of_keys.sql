-- How many tasks of each key are ready in a queue, at most :cap of a key. All of them are read, because a part of a join
-- cannot have a limit.
SELECT r.id AS limit_key, least(count(t.seq), :cap) AS tasks
  FROM JSON_TABLE({json :keys}, '$[*]' COLUMNS (id {id} PATH '$')) AS r
  LEFT JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_limited)
    ON t.gate = CONCAT('w', :queue, CHAR(10 USING utf8mb4), r.id)
 GROUP BY r.id
