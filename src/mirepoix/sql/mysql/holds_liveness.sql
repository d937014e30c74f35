-- The session that holds this lock, if it held the lock before: the server does not know that its client is gone.
SELECT :session AS session_id
  FROM DUAL
 WHERE IS_USED_LOCK(CONCAT('mirepoix.', LEFT(SHA2(CONCAT(DATABASE(), '.', :liveness_key, '.', :worker_id), 256), 40))) = :session
