-- A restarted server has freed every lock. Until the worker holds its lock again, a missing lock proves nothing.
UPDATE mirepoix_worker SET server_started_at = pg_postmaster_start_time() WHERE id = :worker_id
