-- A restarted server has freed every lock. Until the worker holds its lock again, a missing lock proves nothing.
-- MariaDB and MySQL have the table in different places, and each skips the other's comment. While the clock is before
-- the server's start, UPTIME is negative and appears as a huge number.
UPDATE mirepoix_worker
   SET server_started_at = (SELECT UTC_TIMESTAMP(0) - INTERVAL CAST(CAST(variable_value AS UNSIGNED) AS SIGNED) SECOND
                              FROM /*M! information_schema.*//*!80000 performance_schema.*/global_status
                             WHERE variable_name = 'UPTIME')
 WHERE id = :worker_id
