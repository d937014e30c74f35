-- Take failures that are not counted yet, the oldest first. Two transactions that count at once take different
-- failures.
SELECT id, failure_group, title, name, failures, in_release, task_id, failed_at
  FROM mirepoix_failure
 ORDER BY id
 LIMIT :most
   FOR UPDATE SKIP LOCKED
;
DELETE f
  FROM JSON_TABLE({json :found}, '$[*]' COLUMNS (id bigint PATH '$')) AS found
  STRAIGHT_JOIN mirepoix_failure AS f ON f.id = found.id
