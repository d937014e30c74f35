-- How soon PostgreSQL cleans up behind updates. No table is read or rewritten: each statement takes a moment, however big the
-- table is. What an operator has set on these tables is set anew.

-- Of a big table a twentieth is much: 500,000 dead rows of 10 million. And the clean-up itself must not last for long.
ALTER TABLE mirepoix_task SET (
    autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_limit = 2000,
    autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02);
ALTER TABLE mirepoix_attempt SET (autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);

-- Heartbeats change what this index was on, so that each wrote all the table's indexes. The table has a row for each worker.
DROP INDEX IF EXISTS mirepoix_worker_alive;

-- Rows that are changed again and again, in columns without an index: with room in their page no index is written.
ALTER TABLE mirepoix_worker SET (fillfactor = 50, autovacuum_vacuum_threshold = 500);
ALTER TABLE mirepoix_queue SET (fillfactor = 50);
ALTER TABLE mirepoix_budget SET (fillfactor = 50);
ALTER TABLE mirepoix_chord SET (fillfactor = 70);
