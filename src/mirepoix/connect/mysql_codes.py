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

TOO_MANY = frozenset({1040, 1203, 1226})
"""Connections."""

PASSING = frozenset(
    {
        *(UNDONE | {CHANGED_SINCE}),
        *(0, 2001, 2002, 2003, 2004, 2005, 2006, 2012, 2013, 2026, 2027, 2055, 4031),  # no connection, or none any more
        *(1042, 1043, 1047, 1053, 1077, 1079, 1080, 1129, 1152, 1184, 1927),  # the server begins, ends, or hung up
        *(1158, 1159, 1160, 1161),  # the network
        *(1040, 1135, 1203, 1226, 1637),  # too many connections, threads or transactions
        *(1021, 1023, 1026, 1030, 1114, 1180, 1181, 1878),  # the disk is full, or cannot be written
        *(1037, 1038, 1041, 1206),  # out of memory, or of locks
        *(1290, 1792, 1836, 1874, 3032, 3100, 3101, 3168),  # read only or offline: another server is the primary now
        *(1028, 1317, 1969, 3024, 3169),  # the statement, or its session, was ended
        *(1223, 1613, 1614, 3572),  # locks of others: a backup's, a distributed transaction's
    }
)
"""What the same transaction may not meet another time."""

CONTENT = frozenset(
    {
        *(1118, 1153, 1197, 1267, 1292, 1300, 1301, 1644, 1690, 3819, 4025),
        *(3140, 3141, 3144, 3146, 3150, 3157, 3158, 4035, 4036, 4037, 4038, 4039, 4040),  # JSON, in MySQL and MariaDB
    }
)
"""What is said of a value, in the class of errors that also means a lost connection: a row, packet or transaction that
is too large, letters or JSON that cannot be read, a CHECK, and a trigger's SIGNAL."""

_DRIVERS = frozenset({"pymysql", "MySQLdb", "aiomysql", "asyncmy"})


def of(error: BaseException | None) -> int | None:
    """The code of a driver's error, or of the one that *error* wraps; None if there is none."""
    while error is not None:
        code = own(error)
        if code is not None:
            return code
        error = getattr(error, "orig", None) or error.__cause__
    return None


def own(error: BaseException) -> int | None:
    """The code of *error* itself, if a driver raised it."""
    code = error.args[0] if error.args else None
    return code if isinstance(code, int) and any(_is_drivers(kind) for kind in type(error).__mro__) else None


def _is_drivers(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in _DRIVERS
