-- The attempts of pruned tasks. There are as many rows as task names, queues, outcomes and buckets.
SELECT kind, name, queue, outcome, bucket, attempts, microseconds FROM mirepoix_total
