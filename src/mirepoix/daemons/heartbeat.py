"""Renew a worker's leases and hold its liveness lock. This is a thread of every worker process with no other work.

Only this thread uses the session that holds the lock. So a slow or cut-off round of maintenance does not delay a
heartbeat, and a session that was ended is replaced at once.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import select
import threading
import time
from typing import Protocol

from mirepoix.daemons.leases import Leases
from mirepoix.daemons.probe import Probe

logger = logging.getLogger("mirepoix.maintenance")

LOOK_S = 1.0
"""How often the lock is checked if nothing reports that it was lost."""

AGAIN_FIRST_S = 0.02
AGAIN_LAST_S = 1.0
"""The pauses between attempts to replace a session: the first, and the longest."""


class WatchedRounds(Protocol):
    """The maintenance thread, which this thread watches."""

    round_began_at: float | None
    """When the round began that runs, or that failed and has to be repeated; None if no work is left."""
    tried_at: float | None
    """When the round that runs was started; None if none runs."""

    def abort(self) -> None:
        """End the connection while a statement waits on it."""


class Heartbeat:
    """Send heartbeats until `stop`."""

    def __init__(self, leases: Leases, maintenance: WatchedRounds) -> None:
        self._leases = leases
        self._maintenance = maintenance
        self._probe = Probe(leases.worker.name, leases.incarnation.bound_s)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mirepoix-heartbeat", daemon=True)
        self._wakeup = os.pipe()
        self._next = 0.0
        self._again_s = AGAIN_FIRST_S
        self._is_away = False
        self._reported: float | None = None
        self._lost_at: float | None = None
        leases.send_heartbeat = self._hurry

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread and wait until its round is done."""
        self._stopped.set()
        os.write(self._wakeup[1], b"x")
        if self._thread.is_alive():
            self._thread.join(timeout=self._leases.incarnation.bound_s + 1.0)
        if not self._thread.is_alive():
            for fd in self._wakeup:
                os.close(fd)
            self._probe.remove()

    def _hurry(self) -> None:
        """Send a heartbeat now. A signal handler calls it, so that no task is blamed if the worker is killed then."""
        self._next = 0.0
        if not self._stopped.is_set():
            os.write(self._wakeup[1], b"x")

    def _run(self) -> None:
        while not self._stopped.is_set():
            pause_s = LOOK_S
            self._probe.beat(self._idle_s(time.monotonic()), self._away_s)
            try:
                self._round()
            except self._leases.source.errors as error:
                pause_s = self._lost_database(error)
            except Exception:
                # A daemon's loop goes on after any error.
                logger.exception("the heartbeat failed and goes on")
                self._is_away = True  # else the heartbeat that is due would be tried again without a pause
                pause_s = AGAIN_LAST_S
            else:
                self._is_away, self._again_s = False, AGAIN_FIRST_S
            self._wait(pause_s)

    def _round(self) -> None:
        leases = self._leases
        if leases.incarnation.has_lost_lock():
            leases.incarnation.retake_liveness()
            logger.warning("this worker's liveness lock was lost with its session, and has been taken again")
            self._next = 0.0  # other workers that saw the free lock see that a heartbeat came
        now = time.monotonic()
        self._watch(now)
        if now < self._next and not leases.incarnation.has_other_queues:
            return
        is_alive = leases.incarnation.heartbeat(self._idle_s(now), is_stopping=leases.is_stopping)
        self._next = now + leases.settings.lease_ttl_s / 3
        moment = time.monotonic()
        if self._lost_at is not None or moment - now >= leases.settings.lease_ttl_s / 2:
            leases.incarnation.steady_since = moment
        self._end_what_is_cut_off()
        if not is_alive:
            leases.reincarnate()

    @property
    def _away_s(self) -> float | None:
        """How long no heartbeat has reached the ledger, if the last one failed."""
        return None if self._lost_at is None else round(time.monotonic() - self._lost_at, 3)

    def _idle_s(self, now: float) -> float:
        """Return how long ago maintenance last completed a round."""
        began_at = self._maintenance.round_began_at
        return 0.0 if began_at is None else max(0.0, now - began_at)

    def _watch(self, now: float) -> None:
        """Log a warning once for a round that takes too long."""
        began_at = self._maintenance.round_began_at
        if began_at is None or began_at == self._reported or now - began_at < self._leases.settings.lease_ttl_s / 2:
            return
        self._reported = began_at
        logger.warning(
            "the maintenance of worker %s has not completed a round for %.1f s: it waits for the ledger. Meanwhile "
            "other workers release due tasks and take back the tasks of dead workers.",
            self._leases.worker.name,
            now - began_at,
        )

    def _end_what_is_cut_off(self) -> None:
        """Abort a statement from before the ledger was lost, because its connection may be dead."""
        lost_at, self._lost_at = self._lost_at, None
        tried_at = self._maintenance.tried_at
        if lost_at is not None and tried_at is not None and tried_at < lost_at:
            self._maintenance.abort()

    def _lost_database(self, error: Exception) -> float:
        # Until a heartbeat reaches the ledger again, the silence of other workers proves nothing.
        self._leases.incarnation.steady_since = math.inf
        self._lost_at = self._lost_at or time.monotonic()
        if not self._is_away:
            logger.warning("a heartbeat cannot reach the ledger, trying again until it can: %s", str(error).strip())
        self._is_away = True
        pause_s, self._again_s = self._again_s, min(2 * self._again_s, AGAIN_LAST_S)
        return pause_s

    def _wait(self, pause_s: float) -> None:
        """Wait so long, or less if the lock may have been lost or a heartbeat is due."""
        poll = select.poll()
        poll.register(self._wakeup[0], select.POLLIN)
        if not self._is_away:
            pause_s = max(0.0, min(pause_s, self._next - time.monotonic()))
            with contextlib.suppress(OSError, *self._leases.source.disconnects):
                fd = None if self._leases.incarnation.liveness is None else self._leases.incarnation.liveness.fileno()
                if fd is not None:
                    poll.register(fd, select.POLLIN)
        if any(fd == self._wakeup[0] for fd, _ in poll.poll(pause_s * 1000)) and not self._stopped.is_set():
            os.read(self._wakeup[0], 64)
