-- A session lock that the server frees when the last process holding this connection is gone; and which session it is.
SELECT pg_try_advisory_lock(:namespace, :liveness_key) AS is_held, pg_backend_pid() AS session_id
