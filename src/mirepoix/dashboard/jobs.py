"""Run replays and long decisions in threads, with progress and a stop, while their users look at other pages.

If the process dies, what is committed is done and recorded, and the rest is not touched: as with Ctrl-C on the command
line. Nothing is repeated.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from mirepoix.celery.installation import Installation
from mirepoix.connect.source import OwnConnection

logger = logging.getLogger("mirepoix.dashboard")

SHORT_S = 1.0
"""How long a request waits for its job, so that a short one is shown as over at once."""

MOST = 200
"""The most jobs that are remembered."""


@dataclass(slots=True)
class Job:
    """Work in a thread. *lines* are what it reported, the last one newest."""

    id: str
    title: str
    user: str
    back: str
    total: int
    done: int = 0
    lines: list[str] = field(default_factory=list)
    is_over: bool = False
    is_stopped: bool = False
    error: str = ""
    can_stop: bool = True
    on_stop: Callable[[], None] | None = None
    over: threading.Event = field(default_factory=threading.Event)

    def stop(self) -> None:
        """Begin nothing more after the transaction that runs now."""
        self.is_stopped = True
        if self.on_stop is not None:
            self.on_stop()


class Jobs:
    """The jobs of this process."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._lock = threading.Lock()
        self._jobs: OrderedDict[str, Job] = OrderedDict()

    def begin(
        self, title: str, user: str, back: str, total: int, work: Callable[[OwnConnection, Job], None], form: str = ""
    ) -> Job:
        """Start *work* with a connection of its own. A short job is over when this returns.

        If *form*, which names a form that was shown once, was sent by that user before, return the job of that time.
        """
        job_id = hashlib.sha256(f"{user}\0{form}".encode()).hexdigest()[:32] if form else secrets.token_urlsafe(12)
        job = Job(job_id, title, user, back, total)
        with self._lock:
            begun = self._jobs.setdefault(job.id, job)
            over = [known.id for known in self._jobs.values() if known.is_over and known is not begun]
            for known_id in over[: max(0, len(self._jobs) - MOST)]:
                del self._jobs[known_id]
        if begun is job:
            threading.Thread(target=self._run, args=(job, work), name=f"dashboard job {job.id}", daemon=True).start()
        begun.over.wait(SHORT_S)
        return begun

    def get(self, job_id: str) -> Job | None:
        """Return the job, or None if this process does not know it."""
        return self._jobs.get(job_id)

    def running(self) -> list[Job]:
        """Return the jobs that run."""
        with self._lock:
            return [job for job in self._jobs.values() if not job.is_over]

    def _run(self, job: Job, work: Callable[[OwnConnection, Job], None]) -> None:
        try:
            connection = self._installation.source.open()
            try:
                work(connection, job)
            finally:
                connection.close()
        except Exception as error:
            logger.exception("%s ended with an error", job.title)
            job.error = f"It ended with an error ({type(error).__name__}). What is reported as done is done."
        finally:
            job.is_over = True
            job.over.set()
