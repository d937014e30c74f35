"""Read from the ledger's database what the rules judge. Nothing is written, and each answer is waited for briefly."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from mirepoix.connect.source import Source
from mirepoix.doctor.facts import Database
from mirepoix.errors import ConfigurationError
from mirepoix.ledger import migrate
from mirepoix.ledger.query.releases import RELEASE
from mirepoix.ledger.tx import Tx

BOUND_S = 5.0

_POSTGRESQL_SETTINGS = """
SELECT name, setting FROM pg_settings
 WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit', 'autovacuum', 'max_connections')
"""
_POSTGRESQL_ROWS = "SELECT relname, n_live_tup, n_dead_tup FROM pg_stat_user_tables WHERE relname LIKE 'mirepoix%'"
_POSTGRESQL_OFF = """
SELECT relname FROM pg_class
 WHERE relname LIKE 'mirepoix%' AND relkind = 'r' AND 'autovacuum_enabled=false' = ANY (reloptions)
"""
_POSTGRESQL_OLDEST = """
SELECT extract(epoch FROM clock_timestamp() - xact_start) AS open_s, pid AS session, application_name AS name
  FROM pg_stat_activity
 WHERE xact_start IS NOT NULL AND backend_type = 'client backend' ORDER BY xact_start LIMIT 1
"""
_POSTGRESQL_CONNECTIONS = "SELECT count(*) AS connections FROM pg_stat_activity WHERE backend_type = 'client backend'"
_MYSQL_SETTINGS = """
SELECT 'innodb_flush_log_at_trx_commit' AS name, @@global.innodb_flush_log_at_trx_commit AS setting
UNION ALL SELECT 'max_connections', @@global.max_connections
UNION ALL SELECT 'max_allowed_packet', @@global.max_allowed_packet
"""
_MYSQL_CONNECTIONS = "SELECT count(*) AS connections FROM information_schema.processlist"
_MYSQL_OLDEST = """
SELECT timestampdiff(SECOND, trx_started, now()) AS open_s, trx_mysql_thread_id AS session, '' AS name
  FROM information_schema.innodb_trx
 ORDER BY trx_started LIMIT 1
"""
_NOW = {
    "postgresql": "SELECT extract(epoch FROM clock_timestamp())",
    "mysql": "SELECT unix_timestamp(now(6))",
}
_WORKERS = "SELECT host, software FROM mirepoix_worker WHERE state = 'alive'"


def examined(source: Source) -> Database:
    """Return what is known of the ledger's database. An unexpected error is named by its type only."""
    try:
        return _read(source)
    except Exception as error:  # noqa: BLE001 (a file that is a folder, a row that nobody expects)
        return Database(source.dialect, source.label, error=type(error).__name__)


def _read(source: Source) -> Database:
    if (path := getattr(source, "path", None)) and not Path(path).exists():
        return Database(source.dialect, source.label, error="the file does not exist: run mirepoix migrate")
    try:
        connection = source.open(BOUND_S)
    except source.errors as error:
        return Database(source.dialect, source.label, error=_one_line(error))
    values: dict[str, Any] = {}
    missing: list[str] = []
    try:
        with connection.reading() as tx:
            _clock(tx, values)
        for read in _READERS[source.dialect]:
            # A role may not be allowed to read a view of the system. Then its rules find nothing.
            with suppress(*source.errors), connection.reading() as tx:
                read(tx, values)
        try:
            with connection.reading() as tx:
                missing = migrate.pending(tx)
        except source.errors:
            missing = ["all"]
        if not missing:
            with connection.reading() as tx:
                _workers(tx, values)
    except source.errors as error:
        return Database(source.dialect, source.label, error=_one_line(error))
    finally:
        connection.close()
    if path:
        values["file_system"] = file_system(Path(path))
    return Database(source.dialect, source.label, None, _session_error(source), missing, values)


def _session_error(source: Source) -> str | None:
    try:
        source.require_sessions()
    except ConfigurationError as error:
        return _one_line(error)
    except source.errors:
        return None
    return None


def _clock(tx: Tx, values: dict[str, Any]) -> None:
    if tx.dialect not in _NOW:
        return
    before = time.time()
    ((now,),) = tx.query(_NOW[tx.dialect])
    after = time.time()
    # The answer is from between the two moments, so a slow answer is not a skew.
    values["skew_s"] = min(float(now) - before, 0.0) if float(now) < before else max(float(now) - after, 0.0)


def _postgresql_settings(tx: Tx, values: dict[str, Any]) -> None:
    values |= {row.name: row.setting for row in tx.query(_POSTGRESQL_SETTINGS)}
    values["max_connections"] = int(values["max_connections"])


def _postgresql_activity(tx: Tx, values: dict[str, Any]) -> None:
    values["connections"] = int(tx.query(_POSTGRESQL_CONNECTIONS)[0].connections)
    values["oldest_transaction"] = _oldest(tx.query(_POSTGRESQL_OLDEST))


def _postgresql_tables(tx: Tx, values: dict[str, Any]) -> None:
    values["rows"] = [tuple(row) for row in tx.query(_POSTGRESQL_ROWS)]
    values["tables_without_autovacuum"] = [name for (name,) in tx.query(_POSTGRESQL_OFF)]


def _mysql_settings(tx: Tx, values: dict[str, Any]) -> None:
    values |= {row.name: row.setting for row in tx.query(_MYSQL_SETTINGS)}
    values["max_connections"] = int(values["max_connections"])


def _mysql_activity(tx: Tx, values: dict[str, Any]) -> None:
    values["connections"] = int(tx.query(_MYSQL_CONNECTIONS)[0].connections)
    values["oldest_transaction"] = _oldest(tx.query(_MYSQL_OLDEST))


def _oldest(rows: list[Any]) -> tuple[float, int, str] | None:
    return (float(rows[0].open_s or 0), int(rows[0].session), str(rows[0].name)) if rows else None


def _workers(tx: Tx, values: dict[str, Any]) -> None:
    rows = [
        (host, software if isinstance(software, dict) else json.loads(software))
        for host, software in tx.query(_WORKERS)
    ]
    values["hosts"] = {host for host, _ in rows}
    values["versions"] = {
        ", ".join(f"{name} {version}" for name, version in sorted(software.items()) if name != RELEASE)
        for _, software in rows
    }


def file_system(path: Path) -> str | None:
    """Return the type of the file system that holds *path*, as Linux names it. None if the system does not say."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return None
    where = str(path.resolve())
    fitting = [(len(mount[1]), mount[2]) for mount in mounts if where.startswith(mount[1].rstrip("/") + "/")]
    return max(fitting, default=(0, None))[1]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


_READERS: dict[str, tuple[Callable[[Tx, dict[str, Any]], None], ...]] = {
    "postgresql": (_postgresql_settings, _postgresql_activity, _postgresql_tables),
    "mysql": (_mysql_settings, _mysql_activity),
    "sqlite": (),
}
