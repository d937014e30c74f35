-- A session lock that the server frees when the last process holding this connection is gone; and which session it is.
-- Such locks belong to the whole server: the name tells of the database as well.
SELECT GET_LOCK(CONCAT('mirepoix.', LEFT(SHA2(CONCAT(DATABASE(), '.', :liveness_key, '.', :worker_id), 256), 40)), 0) AS is_held,
       CONNECTION_ID() AS session_id
