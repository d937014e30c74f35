-- Take a session lock, which the server frees when the last process with this connection is gone. Return the session.
SELECT pg_try_advisory_lock(:namespace, :liveness_key) AS is_held, pg_backend_pid() AS session_id
