"""Workflows that are started and signalled in a database transaction: once if it commits, never if not."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
import pymysql
import pytest
from bridged import Bridged
from flows import Collect
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.service import RPCError

import mirepoix
import mirepoix.temporal
from mirepoix.connect.pymysql import params_of
from mirepoix.errors import ConfigurationError
from mirepoix.temporal import signal_workflow, start_workflow
from pace import until

pytestmark = [pytest.mark.slow, pytest.mark.in_turn]


@dataclass
class Order:
    id: int
    dish: str


@pytest.fixture
def app(bridged: Bridged) -> Any:
    """A program that sends; the shop's workers deliver."""
    app = bridged.client()
    mirepoix.temporal.install(app, bridged.temporal.address)
    return app


def worker(bridged: Bridged, name: str = "w1", env: dict[str, str] | None = None) -> Any:
    """A worker of the shop that delivers to Temporal."""
    own = {"TEMPORAL_ADDRESS": bridged.temporal.address}
    return bridged.worker(name, "--include", "delivering", env={**own, **(env or {})})


def connection(bridged: Bridged) -> Any:
    """One of the caller's own to the ledger's database."""
    if bridged.url.startswith("sqlite"):
        return sqlite3.connect(bridged.url.removeprefix("sqlite:///"))
    if bridged.url.startswith("postgresql"):
        return psycopg.connect(bridged.url)
    return pymysql.connect(**params_of(bridged.url.partition(":")[2]))


async def found(client: Client, id: str) -> list[Any]:
    return await client.get_workflow_handle(id).result()


def test_commit_starts_and_signals_and_rollback_does_not(bridged: Bridged, app: Any) -> None:
    ids = {name: bridged.id_of(name) for name in ("committed", "rolled-back")}
    with closing(connection(bridged)) as own:
        for name, id in ids.items():
            with mirepoix.using(own):
                start_workflow(app, Collect.run, args=[Order(7, "soup")], id=id, task_queue=bridged.queue)
                signal_workflow(app, id, Collect.add, args=["salt"])
                signal_workflow(app, id, "end_after", args=[2])
            (own.commit if name == "committed" else own.rollback)()
    assert len(bridged.ledger.states()) == 3
    worker(bridged)
    bridged.temporal_worker()
    result = bridged.asked(lambda client: found(client, ids["committed"]))
    assert result == [{"id": 7, "dish": "soup"}, "salt"]
    with pytest.raises(RPCError, match="not found"):
        bridged.asked(lambda client: client.get_workflow_handle(ids["rolled-back"]).describe())


def test_a_workflow_id_is_started_once(bridged: Bridged, app: Any) -> None:
    worker(bridged)
    bridged.temporal_worker()
    id = bridged.id_of("order")
    runs = [start_workflow(app, "Collect", args=[n], id=id, task_queue=bridged.queue).get(30) for n in range(2)]
    signal_workflow(app, id, "end").get(30)
    assert bridged.asked(lambda client: found(client, id)) == [0]
    runs.append(start_workflow(app, "Collect", args=[2], id=id, task_queue=bridged.queue).get(30))
    assert len(set(runs)) == 1


def test_policies_and_options_are_the_callers(bridged: Bridged, app: Any) -> None:
    worker(bridged)
    bridged.temporal_worker()
    id = bridged.id_of("order")
    given = {"id": id, "task_queue": bridged.queue, "id_reuse_policy": WorkflowIDReusePolicy.ALLOW_DUPLICATE}
    first = start_workflow(
        app,
        "Collect",
        args=["a"],
        **given,
        memo={"who": "me"},
        run_timeout=timedelta(hours=1),
        start_signal="add",
        start_signal_args=["b"],
    ).get(30)

    async def described(client: Client) -> Any:
        found = await client.get_workflow_handle(id).describe()
        return found.run_id, await found.memo()

    assert bridged.asked(described) == (first, {"who": "me"})
    second = start_workflow(
        app, "Collect", **given, id_conflict_policy=WorkflowIDConflictPolicy.TERMINATE_EXISTING
    ).get(30)
    assert second != first
    refused = start_workflow(app, "Collect", **given, id_conflict_policy=WorkflowIDConflictPolicy.FAIL)
    bridged.wait(refused.id, "failed")


def test_a_signal_to_nobody_fails_and_is_there_to_be_requeued(bridged: Bridged, app: Any) -> None:
    worker(bridged)
    bridged.temporal_worker()
    id = bridged.id_of("later")
    lost = signal_workflow(app, id, "end", wait_s=0.5)
    bridged.wait(lost.id, "failed")
    start_workflow(app, "Collect", args=["a"], id=id, task_queue=bridged.queue).get(30)
    bridged.ledger.requeue(lost.id)
    assert bridged.asked(lambda client: found(client, id)) == ["a"]


def test_a_server_that_is_away_is_waited_for(bridged: Bridged, app: Any) -> None:
    bridged.temporal.kill()
    worker(bridged)
    started = start_workflow(app, "Collect", args=["a"], id=bridged.id_of("order"), task_queue=bridged.queue)
    until(lambda: bridged.row(started.id)["retries"] >= 2, "it was tried again")
    bridged.temporal.start()
    bridged.wait(started.id, "succeeded")


def test_what_cannot_be_sent_is_refused(bridged: Bridged, app: Any) -> None:
    with pytest.raises(TypeError):
        start_workflow(app, "Collect", args=[object()], id="x", task_queue="q")
    with pytest.raises(ConfigurationError, match=r"mirepoix\.temporal\.install"):
        start_workflow(bridged.app, "Collect", id="x", task_queue="q")
    with pytest.raises(ConfigurationError, match="neither a name"):
        start_workflow(app, lambda: None, id="x", task_queue="q")
    assert bridged.ledger.states() == {}
