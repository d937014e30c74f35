-- How soon PostgreSQL vacuums these tables. No table is read or rewritten, so each statement is fast on a table of any size.
-- This replaces settings that an operator has made on these tables.

-- A twentieth of a big table is too much: 500,000 dead rows of 10 million. The vacuum itself must also be short.
ALTER TABLE mirepoix_task SET (
    autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_limit = 2000,
    autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02);
ALTER TABLE mirepoix_attempt SET (autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);

-- Heartbeats change this index's column, so each heartbeat wrote all indexes of the table. The table has a row for each worker.
DROP INDEX IF EXISTS mirepoix_worker_alive;

-- These rows change often, in columns without an index. With room in their page, an update writes no index.
ALTER TABLE mirepoix_worker SET (fillfactor = 50, autovacuum_vacuum_threshold = 500);
ALTER TABLE mirepoix_queue SET (fillfactor = 50);
ALTER TABLE mirepoix_budget SET (fillfactor = 50);
ALTER TABLE mirepoix_chord SET (fillfactor = 70);
