-- Take a session lock, which the server frees when the last process with this connection is gone. Return the session.
-- Such locks belong to the whole server, so the name includes the database.
SELECT GET_LOCK(CONCAT('mirepoix.', LEFT(SHA2(CONCAT(DATABASE(), '.', :liveness_key, '.', :worker_id), 256), 40)), 0) AS is_held,
       CONNECTION_ID() AS session_id
