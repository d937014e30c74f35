"""The rules about the broker and the ledger's database, as they answered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mirepoix.doctor.facts import Facts
from mirepoix.doctor.rules import Severity, rule

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO
MOST_SKEW_S = 2.0
MOST_DEAD_ROWS = 100_000
OLDEST_TRANSACTION_S = 600.0
FULL = 0.8


def _redis(facts: Facts, name: str) -> Any:
    return None if facts.broker is None else facts.broker.redis.get(name)


def _database(facts: Facts, name: str) -> Any:
    return None if facts.database is None else facts.database.values.get(name)


@rule("MD201", ERROR, "the broker does not answer", "Check the URL, the network and the broker.")
def broker_away(facts: Facts) -> Iterator[str]:
    if facts.broker is not None and facts.broker.error is not None:
        yield f"{facts.broker.label}: {facts.broker.error}"


@rule("MD202", ERROR, "Redis throws messages away when its memory is full", "Set maxmemory-policy noeviction.")
def eviction(facts: Facts) -> Iterator[str]:
    policy = _redis(facts, "maxmemory_policy")
    if policy not in (None, "noeviction") and _redis(facts, "maxmemory"):
        yield f"maxmemory-policy is {policy}, maxmemory is {_redis(facts, 'maxmemory')} bytes"


@rule(
    "MD203",
    ERROR,
    "a restart of Redis loses waiting messages",
    "Set appendonly yes, or install Mirepoix: then the tasks are in the ledger and Redis only carries notifications.",
)
def no_persistence(facts: Facts) -> Iterator[str]:
    is_kept = _redis(facts, "aof_enabled") or _redis(facts, "save")
    if facts.broker is not None and facts.broker.redis and not is_kept and not facts.has_ledger:
        yield "appendonly is off and there is no save point"


@rule(
    "MD204",
    WARNING,
    "a crash of Redis loses the messages since its last snapshot",
    "Set appendonly yes, or install Mirepoix.",
)
def snapshots_only(facts: Facts) -> Iterator[str]:
    if _redis(facts, "save") and not _redis(facts, "aof_enabled") and not facts.has_ledger:
        yield f"appendonly is off; snapshots are made by: save {_redis(facts, 'save')}"


@rule("MD205", ERROR, "Redis is almost full", "Raise maxmemory, or find out which queue grows.")
def redis_full(facts: Facts) -> Iterator[str]:
    limit, used = _redis(facts, "maxmemory") or 0, _redis(facts, "used_memory") or 0
    if limit and used >= FULL * limit:
        yield f"{used} of {limit} bytes are used"


@rule("MD206", WARNING, "Redis ends the connections of idle workers", "Set timeout 0 in Redis.")
def redis_timeout(facts: Facts) -> Iterator[str]:
    if _redis(facts, "timeout"):
        yield f"timeout is {_redis(facts, 'timeout')} s"


@rule(
    "MD207",
    WARNING,
    "a power failure loses the messages of the last half minute",
    "Set appendfsync everysec, or install Mirepoix.",
)
def never_synced(facts: Facts) -> Iterator[str]:
    if _redis(facts, "appendfsync") == "no" and _redis(facts, "aof_enabled") and not facts.has_ledger:
        yield "appendfsync is no"


@rule("MD301", ERROR, "the ledger's database does not answer", "Check the URL, the network and the database.")
def database_away(facts: Facts) -> Iterator[str]:
    if facts.database is not None and facts.database.error is not None:
        yield f"{facts.database.label}: {facts.database.error}"


@rule("MD302", ERROR, "the ledger's tables are missing or old", "Run mirepoix migrate (in Django manage.py migrate).")
def not_migrated(facts: Facts) -> Iterator[str]:
    missing = () if facts.database is None else facts.database.missing_migrations
    if missing:
        yield f"not applied: {', '.join(missing)}"


@rule(
    "MD303",
    ERROR,
    "workers cannot hold a session of the database",
    "Set mirepoix_worker_url to the database itself: docs/how-to/connections.md.",
)
def transaction_pooler(facts: Facts) -> Iterator[str]:
    if facts.database is not None and facts.database.session_error is not None:
        yield facts.database.session_error


@rule("MD304", ERROR, "the database confirms commits that a power failure loses", "Turn it on again.")
def no_fsync(facts: Facts) -> Iterator[str]:
    for name, safe in (("fsync", "on"), ("full_page_writes", "on"), ("innodb_flush_log_at_trx_commit", "1")):
        value = _database(facts, name)
        if value is not None and str(value) != safe:
            yield f"{name} is {value}"


@rule(
    "MD305",
    WARNING,
    "a crash of the database loses the last commits",
    "Set synchronous_commit = on for the role of the app.",
)
def asynchronous_commit(facts: Facts) -> Iterator[str]:
    if _database(facts, "synchronous_commit") == "off":
        yield "synchronous_commit is off"


@rule("MD306", ERROR, "nothing cleans up the ledger's tables", "Set autovacuum = on.")
def no_autovacuum(facts: Facts) -> Iterator[str]:
    if _database(facts, "autovacuum") == "off":
        yield "autovacuum is off"
    for table in _database(facts, "tables_without_autovacuum") or ():
        yield f"autovacuum_enabled is false for {table}"


@rule(
    "MD307",
    WARNING,
    "the ledger's tables are bloated",
    "Look for long transactions (MD308). Then run VACUUM on the table.",
)
def bloat(facts: Facts) -> Iterator[str]:
    for table, live, dead in _database(facts, "rows") or ():
        if dead >= MOST_DEAD_ROWS and dead > live:
            yield f"{table} has {dead} dead rows and {live} live ones"


@rule("MD308", WARNING, "an old transaction keeps dead rows from being removed", "End it, and find what left it open.")
def old_transaction(facts: Facts) -> Iterator[str]:
    oldest = _database(facts, "oldest_transaction")
    if oldest and oldest[0] >= OLDEST_TRANSACTION_S:
        yield f"session {oldest[1]} ({oldest[2] or 'no name'}) has had a transaction open for {oldest[0]:.0f} s"


@rule("MD309", WARNING, "the database is almost out of connections", "Raise max_connections, or use a pooler.")
def connections(facts: Facts) -> Iterator[str]:
    used, most = _database(facts, "connections") or 0, _database(facts, "max_connections") or 0
    if most and used >= FULL * most:
        yield f"{used} of {most} connections are used"


@rule("MD310", WARNING, "the clocks of this host and of the database differ", "Synchronise both with NTP.")
def clocks(facts: Facts) -> Iterator[str]:
    skew_s = _database(facts, "skew_s")
    if skew_s is not None and abs(skew_s) >= MOST_SKEW_S:
        yield f"the database is {abs(skew_s):.1f} s {'behind' if skew_s < 0 else 'ahead'}"


@rule(
    "MD311",
    ERROR,
    "a ledger on SQLite is used from several hosts, or lies on a network file system",
    "Use PostgreSQL or MariaDB for more than one host.",
)
def shared_file(facts: Facts) -> Iterator[str]:
    hosts = _database(facts, "hosts") or ()
    if facts.database is not None and facts.database.dialect == "sqlite":
        if len(hosts) > 1:
            yield f"workers of {', '.join(sorted(hosts))}"
        if (kind := _database(facts, "file_system")) in ("nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p"):
            yield f"{facts.database.label} is on {kind}"


@rule("MD312", ERROR, "a task that the ledger accepts does not fit into a packet", "Raise max_allowed_packet to 16M.")
def packet(facts: Facts) -> Iterator[str]:
    most = _database(facts, "max_allowed_packet")
    limit = 0 if facts.settings is None else facts.settings.payload_limit_bytes
    if most and int(most) < 2 * limit:
        yield f"max_allowed_packet is {most} bytes, mirepoix_payload_limit_bytes is {limit}"


@rule(
    "MD313",
    INFO,
    "workers of several versions run at the same time",
    "This is right during a deploy. Otherwise find the hosts that were not updated.",
)
def versions(facts: Facts) -> Iterator[str]:
    found = _database(facts, "versions") or ()
    if len(found) > 1:
        yield ", ".join(sorted(found))
