"""The key of a submission: the same in every attempt of a flow run, and in no other flow run.

Prefect gives each attempt of a flow run new ids of its task runs. So the key holds the flow run, the name of the
Prefect task, a hash of the call, and how many equal calls came before. Calls that differ may come in any order, as
they do with ``.submit()`` and ``.map()``.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from kombu.utils.json import dumps
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, TaskRun
from prefect.context import FlowRunContext, TaskRunContext

from mirepoix.celery.submit import KEY_LIMIT
from mirepoix.errors import ConfigurationError

MOST_ATTEMPTS = 1_000
"""The calls of so many attempts of flow runs are counted at a time."""


@dataclass(frozen=True, slots=True)
class Lineage:
    """A flow run and the flow runs that it is a subflow of."""

    path: str
    """The same in every attempt of the outermost flow run."""
    flow_run_ids: tuple[UUID, ...]
    is_rerun: bool
    """Whether one of them is not in its first attempt."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where in which run a task is triggered."""

    flow_run: FlowRun | None
    task_run: TaskRun | None
    task_name: str
    is_remote: bool
    """Whether the Prefect task runs in another process than its flow, which counts equal calls for itself."""

    @classmethod
    def current(cls) -> Place:
        """The place of the code that calls; outside of a run it has neither flow run nor task run."""
        flow, task = FlowRunContext.get(), TaskRunContext.get()
        flow_run = flow.flow_run if flow is not None else None
        task_run = task.task_run if task is not None else None
        if task_run is not None and flow_run is not None and task_run.flow_run_id != flow_run.id:
            task_run = None  # a subflow that a task has called
        return cls(
            flow_run=flow_run if isinstance(flow_run, FlowRun) else None,
            task_run=task_run,
            task_name=task.task.name if task is not None and task_run is not None else "",
            is_remote=flow is not None and flow.detached,
        )

    @property
    def is_retry(self) -> bool:
        """Whether Prefect tries the task again in the same attempt of the flow run."""
        return self.task_run is not None and self.task_run.run_count > 1

    def ordinal(self, call: str) -> int:
        """How many equal calls came before in this attempt; a retry of a Prefect task gets what it got before."""
        return _counter.ordinal(self, call)

    def lineage(self) -> Lineage | None:
        """Ask Prefect's API for the flow runs around this one; None outside of a flow run. Blocks."""
        return None if self.flow_run is None else _lineage(self.flow_run)

    def key(self, lineage: Lineage | None, call: str, ordinal: int) -> str:
        """The key of a call that is made here. Raises ConfigurationError outside of a run."""
        if lineage is not None:
            inner = f"{self.task_run.id}" if self.is_remote and self.task_run is not None else self.task_name
            return _fitting(f"prefect/{lineage.path}/{inner}/{call}/{ordinal}")
        if self.task_run is not None:
            return _fitting(f"prefect/task/{self.task_run.id}/{call}/{ordinal}")
        raise ConfigurationError(
            "A task that is triggered outside of a flow run and of a task run has no key of its own. "
            "Give the block a key: MirepoixTask(..., key='order-7')."
        )


def hash_of(task: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """The same for equal calls."""
    text = json.dumps(json.loads(dumps([task, list(args), dict(kwargs)])), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


# ---- counting


@dataclass(slots=True)
class _Attempt:
    """The equal calls of one attempt of a flow run."""

    counts: defaultdict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    given: defaultdict[tuple[UUID | None, str], list[int]] = field(default_factory=lambda: defaultdict(list))
    """What each task run got, which a retry of it gets again."""
    used: defaultdict[tuple[UUID | None, int, str], int] = field(default_factory=lambda: defaultdict(int))


class _Counter:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._attempts: OrderedDict[tuple[UUID | None, int], _Attempt] = OrderedDict()
        """By the flow run and how often it was tried."""

    def ordinal(self, place: Place, call: str) -> int:
        with self._lock:
            attempt = self._attempt(place)
            run_id = None if place.task_run is None else place.task_run.id
            tries = 0 if place.task_run is None else place.task_run.run_count
            given = attempt.given[run_id, call]
            index = attempt.used[run_id, tries, call]
            attempt.used[run_id, tries, call] += 1
            if index == len(given):
                given.append(attempt.counts[place.task_name, call])
                attempt.counts[place.task_name, call] += 1
            return given[index]

    def _attempt(self, place: Place) -> _Attempt:
        run = place.flow_run or place.task_run
        key = (None, 0) if run is None else (run.id, run.run_count if place.flow_run is not None else 0)
        attempt = self._attempts.setdefault(key, _Attempt())
        self._attempts.move_to_end(key)
        while len(self._attempts) > MOST_ATTEMPTS:
            self._attempts.popitem(last=False)
        return attempt


_counter = _Counter()


# ---- flow runs around a flow run


def _lineage(flow_run: FlowRun) -> Lineage:
    steps: list[str] = []
    ids, is_rerun = [flow_run.id], flow_run.run_count > 1
    if flow_run.parent_task_run_id is not None:
        with get_client(sync_client=True) as client:
            outer = flow_run
            while outer.parent_task_run_id is not None:
                # Prefect numbers the subflows of a flow run in the order of their calls, and the name ends with it.
                # An attempt after a crash makes a new flow run of the subflow, and not a new number.
                parent = client.read_task_run(outer.parent_task_run_id)
                if parent.flow_run_id is None:
                    break
                steps.insert(0, parent.name)
                outer = client.read_flow_run(parent.flow_run_id)
                ids.append(outer.id)
                is_rerun = is_rerun or outer.run_count > 1
    return Lineage("/".join([str(ids[-1]), *steps]), tuple(ids), is_rerun)


def _fitting(key: str) -> str:
    if len(key) <= KEY_LIMIT and key.isprintable() and key == key.strip():
        return key
    return f"prefect/sha256/{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}"
