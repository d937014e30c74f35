-- The ledger. Times are UTC text, YYYY-MM-DD HH:MM:SS.mmm. Durations are in seconds. docs/reference/schema.md explains every column.

CREATE TABLE mirepoix_task (
    seq               integer PRIMARY KEY AUTOINCREMENT,
    id                text NOT NULL UNIQUE,
    name              text NOT NULL,
    queue             text NOT NULL,
    priority          integer NOT NULL DEFAULT 0,
    state             text NOT NULL DEFAULT 'pending' CHECK (state IN (
                          'pending', 'leased', 'running', 'succeeded', 'failed',
                          'quarantined', 'parked', 'cancelled', 'expired')),
    reason            text,
    generation        integer NOT NULL DEFAULT 0,
    fence             integer NOT NULL DEFAULT 0,
    retries           integer NOT NULL DEFAULT 0,
    deaths            integer NOT NULL DEFAULT 0,
    handovers         integer NOT NULL DEFAULT 0,
    root_id           text,
    parent_id         text,
    group_id          text,
    created_at        text NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    eta               text,
    due_at            text,
    expires_at        text,
    leased_at         text,
    started_at        text,
    finished_at       text,
    run_time_s        real,
    peak_memory_kb    integer,
    worker_id         text,
    pid               integer,
    content_type      text NOT NULL,
    content_encoding  text NOT NULL,
    body_encoding     text NOT NULL,
    body              text NOT NULL,
    headers           text NOT NULL,
    properties        text NOT NULL,
    exchange          text NOT NULL DEFAULT '',
    routing_key       text NOT NULL DEFAULT ''
);

-- Only waiting and held rows are in the hot indexes, so their cost does not grow with history.
CREATE INDEX mirepoix_task_ready ON mirepoix_task (queue, priority DESC, seq) WHERE state = 'pending' AND due_at IS NULL;
CREATE INDEX mirepoix_task_due ON mirepoix_task (due_at) WHERE state = 'pending' AND due_at IS NOT NULL;
CREATE INDEX mirepoix_task_expiring ON mirepoix_task (expires_at) WHERE state = 'pending' AND expires_at IS NOT NULL;
CREATE INDEX mirepoix_task_held ON mirepoix_task (worker_id) WHERE state IN ('leased', 'running');
CREATE INDEX mirepoix_task_attention ON mirepoix_task (state, finished_at) WHERE state IN ('failed', 'quarantined', 'parked');
CREATE INDEX mirepoix_task_finished ON mirepoix_task (finished_at) WHERE state IN ('succeeded', 'cancelled', 'expired');
CREATE INDEX mirepoix_task_parent ON mirepoix_task (parent_id) WHERE parent_id IS NOT NULL;

CREATE TABLE mirepoix_attempt (
    task_id           text NOT NULL REFERENCES mirepoix_task (id) ON DELETE CASCADE,
    fence             integer NOT NULL,
    generation        integer NOT NULL DEFAULT 0,
    outcome           text NOT NULL,
    worker_id         text,
    pid               integer,
    leased_at         text,
    started_at        text,
    finished_at       text NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    run_time_s        real,
    peak_memory_kb    integer,
    error_type        text,
    error             text,
    traceback         text,
    signal            integer,
    exit_code         integer,
    PRIMARY KEY (task_id, fence)
);

CREATE TABLE mirepoix_worker (
    liveness_key      integer PRIMARY KEY AUTOINCREMENT,
    id                text NOT NULL UNIQUE,
    name              text NOT NULL,
    host              text NOT NULL,
    pid               integer NOT NULL,
    pool              text NOT NULL DEFAULT '',
    concurrency       integer NOT NULL DEFAULT 0,
    queues            text NOT NULL,
    software          text NOT NULL,
    state             text NOT NULL DEFAULT 'alive' CHECK (state IN ('alive', 'stopped', 'dead')),
    reason            text,
    started_at        text NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    heartbeat_at      text NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    alive_until       text NOT NULL,
    ended_at          text,
    server_started_at text
);
CREATE INDEX mirepoix_worker_alive ON mirepoix_worker (alive_until) WHERE state = 'alive';

-- Celery's messages other than tasks: remote control, its replies and events. They are not durable.
CREATE TABLE mirepoix_message (
    id                integer PRIMARY KEY AUTOINCREMENT,
    queue             text NOT NULL DEFAULT '',
    exchange          text NOT NULL DEFAULT '',
    message           text NOT NULL,
    created_at        text NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now'))
);
CREATE INDEX mirepoix_message_queue ON mirepoix_message (queue, id);
CREATE INDEX mirepoix_message_exchange ON mirepoix_message (exchange, id);

CREATE TABLE mirepoix_binding (
    exchange          text NOT NULL,
    routing_key       text NOT NULL,
    pattern           text NOT NULL,
    queue             text NOT NULL,
    created_at        text NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    PRIMARY KEY (exchange, routing_key, pattern, queue)
);

-- For people: every task with readable arguments.
CREATE VIEW mirepoix_task_readable AS
SELECT id, name, queue, priority, state, reason,
       CASE WHEN content_type = 'application/json' AND body_encoding = 'utf-8' AND json_valid(body) THEN json_extract(body, '$[0]') END AS args,
       CASE WHEN content_type = 'application/json' AND body_encoding = 'utf-8' AND json_valid(body) THEN json_extract(body, '$[1]') END AS kwargs,
       generation, fence AS attempts, retries, deaths, handovers, root_id, parent_id, group_id,
       created_at, eta, due_at, expires_at, leased_at, started_at, finished_at, run_time_s, peak_memory_kb,
       worker_id, pid, headers, properties
  FROM mirepoix_task;

-- For people: every attempt. The task's row has the success or the running attempt. All other attempts have their own rows.
CREATE VIEW mirepoix_attempt_history AS
SELECT task_id, fence, generation, outcome, worker_id, pid, leased_at, started_at, finished_at, run_time_s,
       peak_memory_kb, error_type, error, traceback, signal, exit_code
  FROM mirepoix_attempt
UNION ALL
SELECT id, fence, generation, state, worker_id, pid, leased_at, started_at, finished_at, run_time_s,
       peak_memory_kb, NULL, NULL, NULL, NULL, NULL
  FROM mirepoix_task
 WHERE state IN ('leased', 'running', 'succeeded') AND fence > 0;
