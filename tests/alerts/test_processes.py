"""Those who watch as processes: one that dies at each commit boundary, a worker, a watcher apart, and cron."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from receivers import Hook
from watching import Watch, fail
from workers import DEADLINE_S, Process, Shop, until

from mirepoix.crashpoints import Crashpoint
from mirepoix.ledger import finish, operate
from mirepoix.records import AttemptFailure

ALERTS = ("-m", "celery", "-A", "shop", "mirepoix", "alerts")
DEATHS = [
    ("sqlite", Crashpoint.ALERT_BEFORE_COMMIT, 0),
    ("sqlite", Crashpoint.ALERT_AFTER_COMMIT, 0),
    ("sqlite", Crashpoint.TELL_AFTER_CLAIM, 0),
    ("sqlite", Crashpoint.TELL_AFTER_SEND, 1),
    ("postgresql", Crashpoint.TELL_AFTER_SEND, 1),
    ("mariadb", Crashpoint.TELL_AFTER_SEND, 1),
]


@pytest.mark.parametrize(("database", "point", "told"), DEATHS, ids=str)
def test_whoever_dies_while_telling_the_next_tells_it(
    request: pytest.FixtureRequest, tmp_path: Path, hook: Hook, database: str, point: Crashpoint, told: int
):
    with Shop(tmp_path / "shop", request.getfixturevalue(f"{database}_url"), has_client=False) as shop:
        shop.ledger.worker("w1")
        fail(shop.ledger, "t1")
        died = send(shop, hook, env={"MIREPOIX_CRASHPOINT": point}).ends()
        assert died.exit_code == -signal.SIGKILL, died.said
        assert len(hook.requests) == told
        watched = Watch(shop.ledger, hook.url)
        was_claimed = point.startswith("tell.")
        assert watched() == ([0] if was_claimed else [1])
        shop.ledger.passes(61)
        assert watched() == ([1] if was_claimed else [0])
        assert {(one["id"], one["occasion"]) for one in hook.told} == {(hook.told[0]["id"], 1)}  # known as a repetition
        assert len(hook.requests) == told + 1


@pytest.mark.parametrize(
    ("database", "point", "ends"),
    [
        ("sqlite", Crashpoint.TELL_END_AFTER_CLAIM, 1),
        ("postgresql", Crashpoint.TELL_END_AFTER_CLAIM, 1),
        ("sqlite", Crashpoint.TELL_END_AFTER_SEND, 2),
        ("mariadb", Crashpoint.TELL_END_AFTER_SEND, 2),
    ],
    ids=str,
)
def test_the_end_of_an_alert_is_told_by_the_next_if_a_process_dies_while_it_tells(
    request: pytest.FixtureRequest, tmp_path: Path, hook: Hook, database: str, point: Crashpoint, ends: int
):
    with Shop(tmp_path / "shop", request.getfixturevalue(f"{database}_url"), has_client=False) as shop:
        shop.ledger.worker("w1")
        shop.ledger.send("t1")
        shop.ledger.do(finish.park, shop.ledger.lease("w1"), AttemptFailure("no such task"))
        watched = Watch(shop.ledger, hook.url)
        assert watched() == [1]
        shop.ledger.do(operate.discard, ["t1"], "no")
        watched.look()
        died = send(shop, hook, env={"MIREPOIX_CRASHPOINT": point}).ends()
        assert died.exit_code == -signal.SIGKILL, died.said
        watched()
        assert len(hook.requests) == ends, "another process has the claim"
        shop.ledger.passes(61)
        watched()
        watched()
        assert [one["state"] for one in hook.told] == ["open"] + ["closed"] * ends


def send(shop: Shop, hook: Hook, **given: Any) -> Process:
    return shop.start("send", *ALERTS, "--send", alerts=[hook.url], **given)


def test_a_worker_tells_of_what_fails_in_it(sqlite_url: str, tmp_path: Path, hook: Hook):
    with Shop(tmp_path / "shop", sqlite_url) as shop:
        shop.worker("w1", pool="solo", alerts=[hook.url], alerts_interval_s=0.1)
        shop.app.send_task("shop.fail")
        assert hook.was_told.wait(DEADLINE_S)
        until(
            lambda: shop.ledger.query("SELECT 1 FROM mirepoix_alert_telling WHERE told_at IS NOT NULL"), "it is noted"
        )
    assert [one["kind"] for one in hook.told] == ["new_failure"]
    assert hook.told[0]["name"] == "shop.fail"


def test_a_watcher_apart_tells_of_a_dead_fleet(sqlite_url: str, tmp_path: Path, hook: Hook):
    with Shop(tmp_path / "shop", sqlite_url, has_client=False) as shop:
        watcher = shop.start("watch", *ALERTS, "--watch", alerts=[hook.url], alerts_interval_s=0.1, alerts_grace_s=0)
        watcher.says("Checking sqlite")
        shop.ledger.worker("w1")
        shop.ledger.die("w1")
        assert hook.was_told.wait(DEADLINE_S)
        assert watcher.stop().exit_code == 0
    assert hook.titles == ["No worker is alive: nothing runs until one is started"]
