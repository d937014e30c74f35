-- A session lock that the server frees when the last process holding this connection is gone.
SELECT pg_advisory_lock(:namespace, :liveness_key)
