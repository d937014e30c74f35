"""Cancel the tasks of flow runs that are cancelled: a thread asks Prefect's API for the states of flow runs.

A flow's process that crashes, or is ended by a signal, cancels nothing: its flow run is not being cancelled, and the
next attempt joins the tasks. A flow run that is cancelled by a runner has that state before its process is ended.
"""

from __future__ import annotations

import atexit
import contextvars
import logging
import os
import threading
import time
from collections.abc import Iterable, Sequence
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import StateType

from mirepoix.celery.handle import Handle

logger = logging.getLogger("mirepoix.prefect")

LOOK_S = 0.4
"""How often Prefect's API is asked, once for all flow runs of this process."""

PATIENCE_S = 2.0
"""How long a process that is being ended waits for the answer."""

ASKED_AT_ONCE = 200

CANCELLED = frozenset({StateType.CANCELLING, StateType.CANCELLED})
OVER = frozenset({StateType.COMPLETED, StateType.FAILED, StateType.CRASHED})


class Watch:
    """The tasks of this process that have not ended, with the flow runs that they are cancelled with."""

    def __init__(self) -> None:
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._watched: dict[Handle, tuple[UUID, ...]] = {}
        self._thread: threading.Thread | None = None
        self._asked = 0
        """How many looks were asked for …"""
        self._answered = 0
        """… and the last of them that a look has answered."""

    def add(self, handle: Handle, flow_run_ids: Sequence[UUID]) -> None:
        """Cancel the task once one of these flow runs is cancelled, until the task or the first flow run has ended."""
        if self._pid != os.getpid():
            self._begin_anew()  # a fork has copied no thread
        with self._changed:
            self._watched[handle] = tuple(flow_run_ids)
            if self._thread is None:
                # Prefect's settings, and with them the address of its API, may be those of a context.
                context = contextvars.copy_context()
                self._thread = threading.Thread(
                    target=context.run, args=(self._run,), name="mirepoix-prefect", daemon=True
                )
                self._thread.start()
        handle.ended().add_done_callback(lambda ended: None if ended.exception() else self._drop([handle]))

    def look(self) -> None:
        """Look now, as this process may be about to end; return when that is done, or after `PATIENCE_S`."""
        with self._changed:
            if self._thread is None or self._pid != os.getpid():
                return
            self._asked += 1
            asked = self._asked
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._answered >= asked or self._thread is None, PATIENCE_S)

    def _drop(self, handles: Iterable[Handle]) -> None:
        with self._changed:
            for handle in handles:
                self._watched.pop(handle, None)
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            try:
                with get_client(sync_client=True) as client:
                    while self._goes_on():
                        self._look(client)
                    return
            except Exception as error:  # noqa: BLE001 (Prefect's API or the ledger is away)
                logger.warning("Prefect is asked for cancelled flow runs again later: %s", str(error).strip())
                time.sleep(LOOK_S)

    def _goes_on(self) -> bool:
        """Wait for the time of the next look; False if nothing is left to watch."""
        with self._changed:
            self._changed.wait_for(lambda: not self._watched or self._asked > self._answered, LOOK_S)
            if self._watched:
                return True
            self._thread = None
            self._changed.notify_all()
            return False

    def _look(self, client: SyncPrefectClient) -> None:
        with self._changed:
            asked, watched = self._asked, dict(self._watched)
        states = self._states(client, list({id for ids in watched.values() for id in ids}))
        over = []
        for handle, flow_run_ids in watched.items():
            found = [states.get(id) for id in flow_run_ids]
            if not CANCELLED.isdisjoint(found):
                logger.info("task %s is cancelled with flow run %s", handle.id, flow_run_ids[0])
                handle.cancel(terminate=True)
                over.append(handle)
            elif found[0] in OVER:
                over.append(handle)
        self._drop(over)
        with self._changed:
            self._answered = max(self._answered, asked)
            self._changed.notify_all()

    @staticmethod
    def _states(client: SyncPrefectClient, ids: list[UUID]) -> dict[UUID, StateType | None]:
        found = {}
        for begin in range(0, len(ids), ASKED_AT_ONCE):
            wanted = FlowRunFilter(id=FlowRunFilterId(any_=ids[begin : begin + ASKED_AT_ONCE]))
            for run in client.read_flow_runs(flow_run_filter=wanted, limit=ASKED_AT_ONCE):
                found[run.id] = run.state_type
        return found


watch = Watch()
"""Of this process."""

# A process that a runner ends because its flow run is cancelled may be about to exit before the next look.
atexit.register(watch.look)
