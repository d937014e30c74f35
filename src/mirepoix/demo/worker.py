"""The module of the demo's worker processes: ``celery -A mirepoix.demo.worker worker``."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

from mirepoix.demo.folder import FOLDER_VARIABLE, STOCK_VARIABLE, Folder
from mirepoix.demo.shop import make_app


def _end_with_the_demo() -> None:
    # Standard input is a pipe. Only the demo holds its other end, so it closes when the demo ends or is killed.
    # sys.stdin would hold its lock while the pool forks, so the file descriptor is read.
    os.read(0, 1)
    os.killpg(os.getpid(), signal.SIGKILL)


app = make_app(Folder(Path(os.environ[FOLDER_VARIABLE]), is_stock=STOCK_VARIABLE in os.environ))

if os.getpgid(0) == os.getpid():
    threading.Thread(target=_end_with_the_demo, daemon=True).start()
