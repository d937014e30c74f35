"""The error codes of MySQL and MariaDB, as PyMySQL, mysqlclient, aiomysql and asyncmy hand them on."""

from __future__ import annotations

DUPLICATE = 1062
DEADLOCK = 1213
LOCK_WAIT = 1205
CHANGED_SINCE = 1020
"""A locked row is newer than the snapshot (MariaDB with innodb_snapshot_isolation, its default from 11.6)."""

MISSING = frozenset({1146, 1054})
"""No such table, no such column."""

MADE_ALREADY = frozenset({1050, 1060, 1061})
"""The table, the column or the index is there: what a migration says that was cut short and is run again."""

UNDONE = frozenset({DEADLOCK, LOCK_WAIT})
"""Two transactions were in each other's way; of this one nothing is left, or nothing of the statement."""

PASSING = frozenset(
    {
        *(UNDONE | {CHANGED_SINCE}),
        *(0, 2002, 2003, 2006, 2013, 2055, 4031),  # no connection, or none any more
        *(1040, 1203, 1226),  # too many connections
        *(1053, 1077, 1079, 1158, 1159, 1160, 1161, 1184, 1927),  # the server ends, or ended the session
        *(1037, 1041, 1206),  # out of memory, or of locks
        *(1290, 1792, 1836),  # read only: another server is the primary now
        *(1317, 1969, 3024),  # the statement was ended
    }
)
"""What the same transaction may not meet another time."""

_DRIVERS = frozenset({"pymysql", "MySQLdb", "aiomysql", "asyncmy"})


def of(error: BaseException | None) -> int | None:
    """The code of a driver's error, or of the one that *error* wraps; None if there is none."""
    while error is not None:
        code = error.args[0] if error.args else None
        if isinstance(code, int) and any(_is_drivers(kind) for kind in type(error).__mro__):
            return code
        error = getattr(error, "orig", None) or error.__cause__
    return None


def _is_drivers(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in _DRIVERS
