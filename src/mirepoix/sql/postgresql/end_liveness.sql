-- End the session that held this lock before, if the server does not know yet that its client is gone.
SELECT pg_terminate_backend(pid) AS is_ended
  FROM pg_locks
 WHERE locktype = 'advisory' AND granted AND pid = :session
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND CAST(classid AS bigint) = :namespace AND CAST(objid AS bigint) = :liveness_key AND objsubid = 2
