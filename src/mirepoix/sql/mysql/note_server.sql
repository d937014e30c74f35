-- A restarted server has freed every lock: until the worker holds its lock again, its absence proves nothing.
-- MariaDB and MySQL have the table in different places, and each skips the other's comment.
-- UPTIME is below 0, and told as a huge number, while the clock is set to before the server started.
UPDATE mirepoix_worker
   SET server_started_at = (SELECT UTC_TIMESTAMP(0) - INTERVAL CAST(CAST(variable_value AS UNSIGNED) AS SIGNED) SECOND
                              FROM /*M! information_schema.*//*!80000 performance_schema.*/global_status
                             WHERE variable_name = 'UPTIME')
 WHERE id = :worker_id
