-- Delete workers that ended long ago, if no task names them as its holder.
DELETE FROM mirepoix_worker
 WHERE state <> 'alive' AND ended_at < {earlier :older_than_s}
   AND NOT EXISTS (SELECT 1 FROM mirepoix_task AS t
                    WHERE t.worker_id = mirepoix_worker.id AND t.state IN ('leased', 'running'))
RETURNING id
