"""The error codes of MySQL and MariaDB, as PyMySQL, mysqlclient, aiomysql and asyncmy report them."""

from __future__ import annotations

DUPLICATE = 1062
DEADLOCK = 1213
LOCK_WAIT = 1205
CHANGED_SINCE = 1020
"""A locked row is newer than the snapshot (MariaDB with innodb_snapshot_isolation, its default from 11.6)."""

MISSING = frozenset({1146, 1054})
"""A missing table or column."""

MADE_ALREADY = frozenset({1050, 1060, 1061})
"""The table, column or index exists already. A migration that was interrupted and runs again gets these."""

UNDONE = frozenset({DEADLOCK, LOCK_WAIT})
"""Two transactions blocked each other. The server has undone this transaction, or its last statement."""

TOO_MANY = frozenset({1040, 1203, 1226})
"""Too many connections."""

PASSING = frozenset(
    {
        *(UNDONE | {CHANGED_SINCE}),
        *(0, 2001, 2002, 2003, 2004, 2005, 2006, 2012, 2013, 2026, 2027, 2055, 4031),  # no connection, or it was lost
        *(1042, 1043, 1047, 1053, 1077, 1079, 1080, 1129, 1152, 1184, 1927),  # the server starts, stops, or hung up
        *(1158, 1159, 1160, 1161),  # the network
        *(1040, 1135, 1203, 1226, 1637),  # too many connections, threads or transactions
        *(1021, 1023, 1026, 1030, 1114, 1180, 1181, 1878),  # the disk is full or not writable
        *(1037, 1038, 1041, 1206),  # out of memory or locks
        *(1290, 1792, 1836, 1874, 3032, 3100, 3101, 3168),  # read only or offline: another server is the primary now
        *(1028, 1317, 1969, 3024, 3169),  # the statement or its session was ended
        *(1223, 1613, 1614, 3572),  # locks of others: a backup's, a distributed transaction's
    }
)
"""The same transaction may succeed another time."""

CONTENT = frozenset(
    {
        *(1118, 1153, 1197, 1267, 1292, 1300, 1301, 1644, 1690, 3819, 4025),
        *(3140, 3141, 3144, 3146, 3150, 3157, 3158, 4035, 4036, 4037, 4038, 4039, 4040),  # JSON, in MySQL and MariaDB
    }
)
"""These are about a value, in the class of errors that also means a lost connection: a row, packet or transaction that
is too large, text or JSON that cannot be read, a CHECK, and a trigger's SIGNAL."""

_DRIVERS = frozenset({"pymysql", "MySQLdb", "aiomysql", "asyncmy"})


def of(error: BaseException | None) -> int | None:
    """Return the code of a driver's error, or of the error that *error* wraps, or None."""
    while error is not None:
        code = own(error)
        if code is not None:
            return code
        error = getattr(error, "orig", None) or error.__cause__
    return None


def own(error: BaseException) -> int | None:
    """Return the code of *error* itself, if a driver raised it."""
    code = error.args[0] if error.args else None
    return code if isinstance(code, int) and any(_is_drivers(kind) for kind in type(error).__mro__) else None


def _is_drivers(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in _DRIVERS
