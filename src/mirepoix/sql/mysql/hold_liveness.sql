-- A session lock that the server frees when the last process holding this connection is gone. Such locks belong to the
-- whole server: the name tells of the database as well.
SELECT GET_LOCK(CONCAT('mirepoix.', SHA1(CONCAT(DATABASE(), '.', :liveness_key, '.', :worker_id))), :timeout_s)
