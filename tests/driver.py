"""Drive a ledger step by step: who sends, takes, finishes and dies, and what the tables say then."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Self

from mirepoix.config import Settings
from mirepoix.connect.source import Source
from mirepoix.connect.url import source_for
from mirepoix.ledger import counting, enqueue, finish, operate, reap, take, workers
from mirepoix.ledger.migrate import migrate
from mirepoix.ledger.tx import Connection, Tx
from mirepoix.records import AttemptFailure, Completion, Envelope, Lease, LostTask, Taken, Worker

TTL_S = 1_000.0
OOPS = AttemptFailure("it went wrong", error_type="ValueError", traceback="Traceback: line 1", pid=7, run_time_s=0.5)
MOMENTS = {
    "mirepoix_task": (
        "created_at",
        "eta",
        "due_at",
        "expires_at",
        "sent_at",
        "leased_at",
        "started_at",
        "finished_at",
        "requeued_at",
    ),
    "mirepoix_decision": ("decided_at",),
    "mirepoix_key": ("created_at", "expires_at"),
    "mirepoix_worker": (
        "started_at",
        "heartbeat_at",
        "alive_until",
        "ended_at",
        "heard_at",
        "maintained_at",
        "stopping_at",
    ),
    "mirepoix_attempt": ("leased_at", "started_at", "finished_at"),
    "mirepoix_message": ("created_at",),
    "mirepoix_binding": ("created_at",),
    "mirepoix_step": ("created_at",),
    "mirepoix_queue": ("looked_at", "probed_at"),
    "mirepoix_edit": ("edited_at",),
    "mirepoix_failure_group": (
        *("first_seen_at", "last_seen_at", "hour_at", "decided_at", "ignored_until", "regressed_at"),
    ),
    "mirepoix_failure": ("failed_at",),
    "mirepoix_replay": ("began_at", "ended_at"),
    "mirepoix_alert": ("opened_at", "closed_at"),
    "mirepoix_alert_telling": ("due_at", "told_at", "end_told_at"),
    "mirepoix_replayed": ("replayed_at", "undone_at", "finished_at", "expires_at", "stored_at", "result_expires_at"),
    "mirepoix_budget": (),
    "mirepoix_total": ("newest_at",),
    "mirepoix_probe": ("asked_at", "done_at"),
    "mirepoix_schedule": (),  # tests of schedules have a clock of their own
    "mirepoix_fire": (),
    "mirepoix_limit": (),
    "mirepoix_limit_key": ("kept_until",),
    "mirepoix_hold": ("paused_at",),
    "mirepoix_steering": ("decided_at",),
}
_ids = itertools.count(1)


def envelope(task_id: str | None = None, **fields: Any) -> Envelope:
    """A message to send; what the test does not care about is filled in."""
    given = {"name": "shop.pay", "queue": "celery", "body": '[[1], {"a": 2}, {}]', "headers": {}, "properties": {}}
    return Envelope(id=task_id or f"t{next(_ids)}", **{**given, **fields})


class Ledger:
    """One connection to a ledger. Every method is a transaction of its own, committed when it returns."""

    def __init__(self, source: Source, settings: Settings | None = None) -> None:
        self.source = source
        self.settings = settings or Settings()
        self.connection = source.open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def do(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call *function* with a transaction first; commit."""
        with self.connection.transaction() as tx:
            return function(tx, *args, **kwargs)

    def query(self, sql: str, **params: Any) -> list[tuple[Any, ...]]:
        """Rows of a plain SELECT; on SQLite also while somebody has a transaction open."""
        with self.connection.reading() as tx:
            return tx.query(sql, **params)

    def write(self, sql: str) -> None:
        """Change the tables behind the ledger's back."""
        with self.connection.transaction() as tx:
            tx.script(sql)

    def passes(self, seconds: float) -> None:
        """Let time pass: everything the ledger knows happened so much earlier."""
        earlier = {
            "sqlite": f"strftime('%Y-%m-%d %H:%M:%f', {{0}}, '-{seconds} seconds')",
            "postgresql": f"{{0}} - {seconds} * interval '1 second'",
            "mysql": f"{{0}} - INTERVAL {seconds} SECOND",
        }[self.source.dialect]
        with self.connection.transaction() as tx:
            for table, columns in MOMENTS.items():
                spelled = (f"{column} = {earlier.format(column)}" for column in columns)
                if columns:
                    tx.script(f"UPDATE {table} SET {', '.join(spelled)}")

    # What the tables say

    def row(self, task_id: str) -> dict[str, Any]:
        """The task's row."""
        (row,) = self.rows("SELECT * FROM mirepoix_task WHERE id = :id", id=task_id)
        return row

    def state(self, task_id: str) -> str:
        """The task's state."""
        ((state,),) = self.query("SELECT state FROM mirepoix_task WHERE id = :id", id=task_id)
        return state

    def states(self) -> dict[str, str]:
        """The state of every task."""
        return dict(self.query("SELECT id, state FROM mirepoix_task ORDER BY seq"))

    def attempts(self, task_id: str) -> list[dict[str, Any]]:
        """The task's rows in mirepoix_attempt, oldest first."""
        return self.rows("SELECT * FROM mirepoix_attempt WHERE task_id = :id ORDER BY fence", id=task_id)

    def history(self, task_id: str) -> list[dict[str, Any]]:
        """The task's rows in the view mirepoix_attempt_history, oldest first."""
        return self.rows("SELECT * FROM mirepoix_attempt_history WHERE task_id = :id ORDER BY fence", id=task_id)

    def worker_row(self, worker_id: str) -> dict[str, Any]:
        """The worker's row."""
        (row,) = self.rows("SELECT * FROM mirepoix_worker WHERE id = :id", id=worker_id)
        return row

    def rows(self, sql: str, **params: Any) -> list[dict[str, Any]]:
        """Rows of ``SELECT * FROM table ...`` as dicts."""
        table = sql.split()[3]
        names = self.columns(table)
        return [dict(zip(names, row, strict=True)) for row in self.query(sql, **params)]

    def columns(self, table: str) -> list[str]:
        """The columns of a table or view, in order."""
        if self.source.dialect == "sqlite":
            return [row[0] for row in self.query("SELECT name FROM pragma_table_info(:name) ORDER BY cid", name=table)]
        visible = "AND extra NOT LIKE '%INVISIBLE%'" if self.source.dialect == "mysql" else ""
        schema = "DATABASE()" if self.source.dialect == "mysql" else "'public'"
        found = self.query(
            f"SELECT column_name FROM information_schema.columns WHERE table_schema = {schema} AND table_name = :name"
            f" {visible} ORDER BY ordinal_position",
            name=table,
        )
        return [row[0] for row in found]

    def counts(self) -> dict[str, int]:
        """How many rows each table holds."""
        return {table: self.query(f"SELECT count(*) FROM {table}")[0][0] for table in MOMENTS}

    # What happens

    def send(self, *task_ids: str, **fields: Any) -> set[str]:
        """Enqueue a task for each id."""
        return self.do(enqueue.add, [envelope(task_id, **fields) for task_id in task_ids])

    def worker(self, worker_id: str, ttl_s: float = TTL_S) -> str:
        """Register a worker; return its id."""
        worker = Worker(id=worker_id, name=f"{worker_id}@host", host="host", pid=1, queues=("celery",))
        self.do(workers.register, worker, ttl_s)
        return worker_id

    def take(self, worker_id: str, batch: int = 100, queues: Sequence[str] = ("celery",)) -> list[Taken]:
        """Lease what waits."""
        return self.do(take.take, worker_id, queues, batch)

    def take_ids(self, worker_id: str, batch: int = 100, queues: Sequence[str] = ("celery",)) -> list[str]:
        """Lease what waits; the ids in the order they came."""
        return [taken.lease.task_id for taken in self.take(worker_id, batch, queues)]

    def lease(self, worker_id: str) -> Lease:
        """Lease the next task, which must be there."""
        (taken,) = self.take(worker_id, 1)
        return taken.lease

    def start(self, lease: Lease) -> set[str]:
        """Note that user code runs."""
        return self.do(take.start, lease.worker_id, [(lease, 0.0, 4711)])

    def succeed(self, lease: Lease) -> bool:
        """Report success."""
        return bool(self.do(finish.succeed, lease.worker_id, [Completion(lease, run_time_s=0.25)]))

    def fail(self, lease: Lease, trouble: AttemptFailure = OOPS) -> bool:
        """Report failure."""
        return self.do(finish.fail, lease, trouble)

    def count_failures(self) -> None:
        """Some worker comes by and counts what failed."""
        counting.count_all(self.connection)

    def retry(self, lease: Lease, **fields: Any) -> bool:
        """Ask for another try."""
        return self.do(finish.retry, lease, envelope(lease.task_id, **{"retries": 1, **fields}), OOPS)

    def lose(
        self, lease: Lease, *, is_blamed: bool = True, delay_s: float = 0.0, suspect_after: int = 0
    ) -> LostTask | None:
        """The parent of the attempt's process saw it die."""
        return self.do(
            reap.lose,
            lease,
            OOPS,
            self.settings,
            is_blamed=is_blamed,
            outcome="lost",
            delay_s=delay_s,
            suspect_after=suspect_after,
        )

    def give_back(self, worker_id: str, leases: Sequence[Lease] | None = None) -> int:
        """Hand leases back."""
        return self.do(finish.give_back, worker_id, leases, "worker stops")

    def die(self, worker_id: str, death: str = "hard", **observer: str) -> bool:
        """Somebody found the worker dead."""
        return self.do(declare_dead, worker_id, "its process died", death, **observer)

    def reap(self) -> list[LostTask]:
        """Take back what dead workers held."""
        return self.do(reap.lose_of_dead_workers, self.settings)

    def requeue(self, *task_ids: str) -> list[str]:
        """An operator runs them again."""
        return self.do(operate.requeue, task_ids)

    def cancel(self, *task_ids: str) -> list[str]:
        """An operator cancels them."""
        return self.do(operate.cancel, task_ids)


def declare_dead(tx: Tx, worker_id: str, reason: str, death: str = "hard", **observer: str) -> bool:
    """Somebody found the worker dead, as its row stands now; False if it is not believed to be alive."""
    found = [worker for worker in workers.neighbours(tx, "nobody") if worker.id == worker_id]
    return bool(found) and workers.declare_dead(tx, found[0], reason, death, **observer)


@contextmanager
def rolled_back(of: Connection | Source) -> Iterator[Tx]:
    """A transaction that fails at its end."""
    with suppress(_AtTheEnd), of.transaction() as tx:
        yield tx
        raise _AtTheEnd


def migrate_ledger(url: str) -> None:
    """Make the tables of a ledger in the database at *url*."""
    source = source_for(url)
    connection = source.open()
    migrate(connection)
    connection.close()
    source.close()


def until_somebody_waits_for_a_lock(watcher: Ledger) -> None:
    """Return when a statement waits for what another transaction has locked; not for SQLite."""
    waiting = {
        "postgresql": "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()",
        "mysql": "SELECT 1 FROM information_schema.processlist"
        " WHERE db = DATABASE() AND (state LIKE 'Waiting for table%'"
        " OR (info LIKE '%FOR UPDATE%' OR info LIKE 'INSERT%')"
        " AND info NOT LIKE '%processlist%' AND /*M! time_ms > 50 *//*!80000 time >= 1 */)",
    }[watcher.source.dialect]
    while not watcher.query(waiting):
        pass


class _AtTheEnd(Exception):
    """What a caller raises."""


def moment(value: Any) -> datetime | None:
    """A time as the database gave it, with its zone."""
    if value is None:
        return None
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    return datetime.fromisoformat(value).replace(tzinfo=UTC)
