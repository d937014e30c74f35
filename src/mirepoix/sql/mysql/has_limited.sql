-- Whether a queue has ready tasks with a limit: any queue at all, which one index entry says.
SELECT queue
  FROM mirepoix_task FORCE INDEX (mirepoix_task_limited)
 WHERE gate > 'w' AND gate < 'x' AND JSON_LENGTH({json :queues}) > 0
 LIMIT 1
