-- The ledger. Times are UTC in every time zone of a session. Durations are in seconds. docs/reference/schema.md explains
-- every column. MySQL cannot roll DDL back, so each statement may find its work already done.

-- An index that begins with the state keeps waiting and held rows together, separate from the history.
CREATE TABLE IF NOT EXISTS mirepoix_task (
    seq               bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,
    id                varchar(255) NOT NULL,
    name              text NOT NULL,
    queue             varchar(255) NOT NULL,
    priority          smallint NOT NULL DEFAULT 0,
    state             enum('pending', 'leased', 'running', 'succeeded', 'failed',
                           'quarantined', 'parked', 'cancelled', 'expired') NOT NULL DEFAULT 'pending',
    reason            longtext,
    generation        int NOT NULL DEFAULT 0,
    fence             int NOT NULL DEFAULT 0,
    retries           int NOT NULL DEFAULT 0,
    deaths            int NOT NULL DEFAULT 0,
    handovers         int NOT NULL DEFAULT 0,
    root_id           varchar(255),
    parent_id         varchar(255),
    group_id          varchar(255),
    created_at        datetime(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
    eta               datetime(6),
    due_at            datetime(6),
    expires_at        datetime(6),
    leased_at         datetime(6),
    started_at        datetime(6),
    finished_at       datetime(6),
    run_time_s        double,
    peak_memory_kb    bigint,
    worker_id         varchar(255),
    pid               int,
    content_type      varchar(255) NOT NULL,
    content_encoding  varchar(255) NOT NULL,
    body_encoding     varchar(255) NOT NULL,
    body              longtext NOT NULL,
    headers           longtext NOT NULL,
    properties        longtext NOT NULL,
    exchange          text NOT NULL DEFAULT (''),
    routing_key       text NOT NULL DEFAULT (''),
    UNIQUE KEY mirepoix_task_id (id),
    KEY mirepoix_task_waiting (state, due_at, queue, priority DESC, seq),
    KEY mirepoix_task_expiring (state, expires_at),
    KEY mirepoix_task_held (state, worker_id),
    KEY mirepoix_task_finished (state, finished_at),
    KEY mirepoix_task_parent (parent_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS mirepoix_attempt (
    task_id           varchar(255) NOT NULL,
    fence             int NOT NULL,
    generation        int NOT NULL DEFAULT 0,
    outcome           varchar(255) NOT NULL,
    worker_id         varchar(255),
    pid               int,
    leased_at         datetime(6),
    started_at        datetime(6),
    finished_at       datetime(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
    run_time_s        double,
    peak_memory_kb    bigint,
    error_type        longtext,
    error             longtext,
    traceback         longtext,
    `signal`          int,
    exit_code         int,
    PRIMARY KEY (task_id, fence),
    CONSTRAINT mirepoix_attempt_task FOREIGN KEY (task_id) REFERENCES mirepoix_task (id) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS mirepoix_worker (
    id                varchar(255) NOT NULL PRIMARY KEY,
    liveness_key      int NOT NULL AUTO_INCREMENT UNIQUE,
    name              text NOT NULL,
    host              text NOT NULL,
    pid               int NOT NULL,
    pool              text NOT NULL DEFAULT (''),
    concurrency       int NOT NULL DEFAULT 0,
    queues            longtext NOT NULL,
    software          longtext NOT NULL,
    state             enum('alive', 'stopped', 'dead') NOT NULL DEFAULT 'alive',
    reason            longtext,
    started_at        datetime(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
    heartbeat_at      datetime(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
    alive_until       datetime(6) NOT NULL,
    ended_at          datetime(6),
    server_started_at datetime(6),
    KEY mirepoix_worker_alive (state, alive_until)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Celery's messages other than tasks: remote control, its replies and events.
CREATE TABLE IF NOT EXISTS mirepoix_message (
    id                bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,
    queue             varchar(255) NOT NULL DEFAULT '',
    exchange          varchar(255) NOT NULL DEFAULT '',
    message           longtext NOT NULL,
    created_at        datetime(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
    KEY mirepoix_message_queue (queue, id),
    KEY mirepoix_message_exchange (exchange, id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- A key of InnoDB holds 3,072 bytes: four names of 190 letters.
CREATE TABLE IF NOT EXISTS mirepoix_binding (
    exchange          varchar(190) NOT NULL,
    routing_key       varchar(190) NOT NULL,
    pattern           varchar(190) NOT NULL,
    queue             varchar(190) NOT NULL,
    created_at        datetime(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
    PRIMARY KEY (exchange, routing_key, pattern, queue)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- For people: every task with readable arguments.
CREATE OR REPLACE VIEW mirepoix_task_readable AS
SELECT id, name, queue, priority, state, reason,
       CASE WHEN content_type = 'application/json' AND body_encoding = 'utf-8' AND json_valid(body) THEN json_extract(body, '$[0]') END AS args,
       CASE WHEN content_type = 'application/json' AND body_encoding = 'utf-8' AND json_valid(body) THEN json_extract(body, '$[1]') END AS kwargs,
       generation, fence AS attempts, retries, deaths, handovers, root_id, parent_id, group_id,
       created_at, eta, due_at, expires_at, leased_at, started_at, finished_at, run_time_s, peak_memory_kb,
       worker_id, pid, headers, properties
  FROM mirepoix_task;

-- For people: every attempt. The task's row has the success or the running attempt. All other attempts have their own rows.
CREATE OR REPLACE VIEW mirepoix_attempt_history AS
SELECT task_id, fence, generation, outcome, worker_id, pid, leased_at, started_at, finished_at, run_time_s,
       peak_memory_kb, error_type, error, traceback, `signal`, exit_code
  FROM mirepoix_attempt
UNION ALL
SELECT id, fence, generation, state, worker_id, pid, leased_at, started_at, finished_at, run_time_s,
       peak_memory_kb, NULL, NULL, NULL, NULL, NULL
  FROM mirepoix_task
 WHERE state IN ('leased', 'running', 'succeeded') AND fence > 0;
