"""The job block that runs one Celery task, and its run: Prefect's interface of jobs, sync and async."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from celery.exceptions import TimeoutError as CeleryTimeoutError
from prefect.blocks.abstract import JobBlock, JobRun
from pydantic import Field

from mirepoix.celery.handle import Handle
from mirepoix.celery.submit import submit_once, submit_within
from mirepoix.ledger import operate, results
from mirepoix.ledger.keys import Claimed
from mirepoix.ledger.tx import Tx
from mirepoix.prefect.credentials import MirepoixCredentials
from mirepoix.prefect.key import Place, hash_of
from mirepoix.prefect.private import async_dispatch
from mirepoix.prefect.watch import watch
from mirepoix.states import FINAL, State

RERUN = frozenset({State.FAILED, State.QUARANTINED, State.EXPIRED})
ENDED = frozenset({*FINAL, State.QUARANTINED})


class MirepoixTaskRun(JobRun[Any]):
    """One Celery task that a flow has triggered. Each method is a coroutine in asynchronous flows and tasks."""

    def __init__(self, handle: Handle) -> None:
        self.handle = handle
        """The task: its id, its state, its progress, and how to cancel it."""

    def __repr__(self) -> str:
        return f"<run of {self.handle.task_name}[{self.handle.id}]>"

    async def await_for_completion(self, timeout_s: float | None = None) -> None:
        """As `wait_for_completion`, without blocking the event loop."""
        with _looking_at_an_end():
            try:
                await asyncio.wait_for(_awaited(self.handle), timeout_s)
            except TimeoutError:
                raise CeleryTimeoutError(_not_ended(self.handle)) from None

    @async_dispatch(await_for_completion)
    def wait_for_completion(self, timeout_s: float | None = None) -> None:  # type: ignore[override]
        """Wait until the task has ended; raise what it raised.

        Raises what `mirepoix.Handle.wait` raises: TaskRevokedError if the task was cancelled, Celery's TimeoutError
        after *timeout_s* seconds. If the flow run is cancelled meanwhile, the task is cancelled.
        """
        with _looking_at_an_end():
            self.handle.wait(timeout_s)

    async def afetch_result(self) -> Any:
        """As `fetch_result`, without blocking the event loop."""
        return await asyncio.to_thread(self._result)

    @async_dispatch(afetch_result)
    def fetch_result(self) -> Any:
        """What the task returned, or raise what it raised. Raises Celery's TimeoutError if it has not ended."""
        return self._result()

    def _result(self) -> Any:
        state = self.handle.state
        if state is not None and state not in ENDED:
            raise CeleryTimeoutError(_not_ended(self.handle))
        return self.handle.outcome()


class MirepoixTask(JobBlock[Any]):
    """One call of a Celery task. However often a flow run is tried again, the call is one task in the ledger."""

    _block_type_name = "Mirepoix Task"
    _block_type_slug = "mirepoix-task"
    _description = "Runs a Celery task once, however often the flow run is tried again."

    credentials: MirepoixCredentials = Field(description="Where the task is sent.")
    task: str = Field(description="The name of the Celery task.", examples=["shop.charge"])
    args: list[Any] = Field(default_factory=list, description="Its positional arguments.")
    kwargs: dict[str, Any] = Field(default_factory=dict, description="Its keyword arguments.")
    options: dict[str, Any] = Field(
        default_factory=dict, description="Options of apply_async.", examples=[{"queue": "payments"}]
    )
    key: str | None = Field(
        default=None, description="Stands for the task in the place of the flow run and the call, in the whole ledger."
    )
    rerun_failed: bool = Field(
        default=False,
        description="Whether a retry runs a task again that has failed. Otherwise it gets the same failure. "
        "A task that waits, runs or has succeeded is joined in both cases.",
    )

    async def atrigger(self, args: list[Any] | None = None, kwargs: dict[str, Any] | None = None) -> MirepoixTaskRun:
        """As `trigger`, without blocking the event loop."""
        submit = self._prepared(args, kwargs)
        return await asyncio.to_thread(submit)

    @async_dispatch(atrigger)
    def trigger(  # type: ignore[override]
        self, args: list[Any] | None = None, kwargs: dict[str, Any] | None = None
    ) -> MirepoixTaskRun:
        """Submit the task, unless an earlier attempt of this flow run has; return its run.

        *args* and *kwargs* stand in the place of the block's. The submission is part of a database transaction that is
        open, as with `mirepoix.submit_once`, and raises what that raises. Outside of a flow run and a task run
        it raises ConfigurationError unless the block has a key.
        """
        return self._prepared(args, kwargs)()

    def _prepared(self, args: list[Any] | None, kwargs: dict[str, Any] | None) -> Callable[[], MirepoixTaskRun]:
        """What submits the call. The order of calls counts, so equal calls are numbered here, before anything waits."""
        args = self.args if args is None else args
        kwargs = self.kwargs if kwargs is None else kwargs
        place = Place.current()
        call = hash_of(self.task, args, kwargs)
        ordinal = place.ordinal(call) if self.key is None else 0
        return lambda: self._submitted(args, kwargs, place, call, ordinal)

    def _submitted(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], place: Place, call: str, ordinal: int
    ) -> MirepoixTaskRun:
        lineage = place.lineage()
        key = place.key(lineage, call, ordinal) if self.key is None else self.key
        app = self.credentials.get_client()
        task = app.signature(self.task)
        if self.rerun_failed and (place.is_retry or (lineage is not None and lineage.is_rerun)):
            handle = submit_within(task, key, args, kwargs, self.options, _requeue_failed)
        else:
            handle = submit_once(task, key, args, kwargs, **self.options)
        if lineage is not None:
            watch.add(handle, lineage.flow_run_ids)
        self.logger.info(
            "Task %s[%s] %s.", handle.task_name, handle.id, "is submitted" if handle.is_new else "is joined"
        )
        return MirepoixTaskRun(handle)


def _requeue_failed(tx: Tx, claimed: Claimed) -> None:
    if results.find(tx, [claimed.task_id])[0].task_state in RERUN:
        operate.requeue(tx, [claimed.task_id], "tried again by Prefect")


class _looking_at_an_end:  # noqa: N801 (a context manager)
    """If this process is being ended, find out first whether its flow run is cancelled: then the task is cancelled."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, type: type[BaseException] | None, *_: object) -> None:
        if type is not None and not issubclass(type, Exception):
            watch.look()


async def _awaited(handle: Handle) -> Any:
    return await handle


def _not_ended(handle: Handle) -> str:
    return f"Task {handle.task_name}[{handle.id}] has not ended: it is {handle.state}."
