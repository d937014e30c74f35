"""Who may read the files of an SQLite ledger, and what a lock file that somebody deletes does to a living worker."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from driver import Ledger
from mirepoix.connect.source import LivenessLock
from mirepoix.connect.sqlite3 import SqliteSource
from mirepoix.connect.url import source_for
from mirepoix.ledger import workers
from mirepoix.ledger.migrate import migrate
from mirepoix.records import Worker


@pytest.fixture
def usual_umask() -> Iterator[None]:
    """That of nearly every system: others may read what is made."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    """The permissions of everything in *folder*."""
    return {str(path.relative_to(folder)): path.stat().st_mode & 0o777 for path in sorted(folder.rglob("*"))}


@pytest.mark.usefixtures("usual_umask")
def test_what_the_ledger_makes_is_for_its_owner_alone(tmp_path: Path):
    source = SqliteSource(str(tmp_path / "ledger.db"))
    connection = source.open()
    migrate(connection)
    lock = source.hold_liveness("w1", 1)
    assert modes(tmp_path) == {
        **dict.fromkeys(("ledger.db", "ledger.db-shm", "ledger.db-wal", "ledger.db-workers/1.lock"), 0o600),
        "ledger.db-workers": 0o700,
    }
    lock.close()
    connection.close()


@pytest.mark.usefixtures("usual_umask")
def test_who_may_write_to_a_ledger_that_is_there_may_be_a_worker_of_it(sqlite_url: str):
    source = source_for(sqlite_url)
    file = Path(source.path)
    file.chmod(0o664)
    lock = source.hold_liveness("w1", 1)
    assert modes(file.parent) == {
        "ledger.db": 0o664,
        "ledger.db-workers": 0o770,
        "ledger.db-workers/1.lock": 0o660,
    }
    lock.close()


def test_who_deletes_the_lock_files_of_living_workers_does_not_kill_them(sqlite_url: str):
    source = source_for(sqlite_url)
    with Ledger(source) as ledger:
        ledger.worker("me")
        key = ledger.do(workers.register, Worker("w1", "w1@host", "host", 1), 15.0)
        lock: LivenessLock = source.hold_liveness("w1", key)
        shutil.rmtree(f"{source.path}-workers")
        assert source.unheld(ledger.connection, "me") == []
        assert not lock.is_held()
        again = source.hold_liveness("w1", key, before=lock)
        lock.close()
        assert again.is_held()
        assert source.unheld(ledger.connection, "me") == []
        again.close()


def test_a_lock_file_that_cannot_be_opened_proves_nothing(sqlite_url: str):
    source = source_for(sqlite_url)
    with Ledger(source) as ledger:
        ledger.worker("me")
        key = ledger.do(workers.register, Worker("w1", "w1@host", "host", 1), 15.0)
        file = Path(f"{source.path}-workers") / f"{key}.lock"
        file.parent.mkdir()
        file.symlink_to(file)  # not by its permissions: root may open any file
        assert source.unheld(ledger.connection, "me") == []


def test_a_lock_that_another_process_holds_is_not_waited_for_for_ever(sqlite_url: str):
    source = source_for(sqlite_url)
    lock = source.hold_liveness("w1", 1)
    with pytest.raises(source.disconnects, match="is held by another process"):
        source.hold_liveness("w1", 1, bound_s=0.05)
    lock.close()
