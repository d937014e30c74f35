"""What we take from inside the database drivers and their frameworks, each with the reason.

They promise none of it, so nothing else in Mirepoix names it. `tests/celery/test_private.py` asserts that it is there.
"""

from __future__ import annotations

from typing import Any


def socket_of(connection: Any) -> Any:
    """The socket of a connection of PyMySQL, or None: to notice its end, and to end it from another thread."""
    return connection._sock


def depth_of(connection: Any) -> int:
    """How many ``transaction()`` blocks are open on a connection of psycopg (3.1 to 3.3); 0 if it counts none."""
    return int(getattr(connection, "_num_transactions", 0))


def is_autocommit(connection: Any) -> bool:
    """Whether a connection of SQLAlchemy commits each statement. Any other way to ask is a statement."""
    return bool(connection._is_autocommit_isolation())


def threads_of(executor: Any) -> Any:
    """The threads of a ``ThreadPoolExecutor``. asgiref's has none after a fork, and whoever uses it waits for ever."""
    return executor._threads
