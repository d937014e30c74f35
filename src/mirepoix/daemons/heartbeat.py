"""Renew a worker's leases and hold its liveness lock: a thread of every worker process that waits for nothing else.

It uses the session that holds the lock, and nobody else does. So neither a sweep that takes long nor one that is cut
off from the database keeps a heartbeat back, and a session that was ended is replaced at once.
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
"""How often the lock is looked at where nothing tells that it was lost."""

AGAIN_FIRST_S = 0.02
AGAIN_LAST_S = 1.0
"""A session that cannot be replaced at once is tried again after so long: ever less often."""


class Maintenance(Protocol):
    """The thread beside this one, which is watched."""

    round_began_at: float | None
    """When the round began that is under way, or that has to be done again as it failed; None: all is done."""
    tried_at: float | None
    """When it was last tried, if it is under way."""

    def abort(self) -> None:
        """End the connection under the statement that is being waited for."""


class Heartbeat:
    """Runs until `stop`."""

    def __init__(self, leases: Leases, maintenance: Maintenance) -> None:
        self._leases = leases
        self._maintenance = maintenance
        self._probe = Probe(leases.worker.name, leases.incarnation.bound_s)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mirepoix-heartbeat", daemon=True)
        self._wakeup = os.pipe()
        self._next = 0.0
        self._again_s = AGAIN_FIRST_S
        self._is_away = False
        self._told_of: float | None = None
        self._lost_at: float | None = None
        leases.send_heartbeat = self._hurry

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread and wait until what it is doing is done."""
        self._stopped.set()
        os.write(self._wakeup[1], b"x")
        if self._thread.is_alive():
            self._thread.join(timeout=self._leases.incarnation.bound_s + 1.0)
        if not self._thread.is_alive():
            for fd in self._wakeup:
                os.close(fd)
            self._probe.remove()

    def _hurry(self) -> None:
        """Send a heartbeat now. Called in a signal's handler: a worker that is killed after that blames nobody."""
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
                # A daemon's loop: whatever this was, the next round must come.
                logger.exception("the heartbeat failed and goes on")
                pause_s = AGAIN_LAST_S
            else:
                self._is_away, self._again_s = False, AGAIN_FIRST_S
            self._wait(pause_s)

    def _round(self) -> None:
        leases = self._leases
        if leases.incarnation.has_lost_lock():
            leases.incarnation.retake_liveness()
            logger.warning("what held this worker's liveness lock was lost; the lock is taken again")
            self._next = 0.0  # whoever saw the lock free meanwhile sees that a heartbeat came
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
        """How long no heartbeat has got through, if the last one did not."""
        return None if self._lost_at is None else round(time.monotonic() - self._lost_at, 3)

    def _idle_s(self, now: float) -> float:
        """How long ago maintenance last came round."""
        began_at = self._maintenance.round_began_at
        return 0.0 if began_at is None else max(0.0, now - began_at)

    def _watch(self, now: float) -> None:
        """Say so of a round that takes too long."""
        began_at = self._maintenance.round_began_at
        if began_at is None or began_at == self._told_of or now - began_at < self._leases.settings.lease_ttl_s / 2:
            return
        self._told_of = began_at
        logger.warning(
            "the maintenance of worker %s has not come round for %.1f s: it waits for the ledger. What is due, and "
            "what dead workers held, is left to other workers meanwhile.",
            self._leases.worker.name,
            now - began_at,
        )

    def _end_what_is_cut_off(self) -> None:
        """A statement that was asked before the ledger was lost may wait on a connection that leads nowhere."""
        lost_at, self._lost_at = self._lost_at, None
        tried_at = self._maintenance.tried_at
        if lost_at is not None and tried_at is not None and tried_at < lost_at:
            self._maintenance.abort()

    def _lost_database(self, error: Exception) -> float:
        self._leases.incarnation.steady_since = (
            math.inf
        )  # until a heartbeat gets through nobody's silence is held against them
        self._lost_at = self._lost_at or time.monotonic()
        if not self._is_away:
            logger.warning("a heartbeat cannot reach the ledger, trying again until it can: %s", str(error).strip())
        self._is_away = True
        pause_s, self._again_s = self._again_s, min(2 * self._again_s, AGAIN_LAST_S)
        return pause_s

    def _wait(self, pause_s: float) -> None:
        """Wait that long; less if the lock may have been lost, or a heartbeat is due."""
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
