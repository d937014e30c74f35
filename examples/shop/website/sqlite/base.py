"""Django's SQLite, but a transaction takes the write lock at its beginning."""

from django.db.backends.sqlite3 import base


class DatabaseWrapper(base.DatabaseWrapper):
    """A transaction that reads first and writes later would fail if a worker has written in between."""

    def _start_transaction_under_autocommit(self) -> None:
        self.cursor().execute("BEGIN IMMEDIATE")
