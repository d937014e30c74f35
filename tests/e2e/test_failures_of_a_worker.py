"""Failures of a real worker, by their causes, and a replay of them after the fix."""

from __future__ import annotations

import json
import sys

import pytest
from workers import Shop, until

import fork_server
from mirepoix.ledger.query import failures as query
from mirepoix.ledger.query.failures import Group
from pace import DEADLINE_S

pytestmark = pytest.mark.slow


def groups(shop: Shop) -> dict[str, Group]:
    """The groups by their titles."""
    shop.ledger.count_failures()
    return {group.title: group for group in shop.ledger.do(query.groups)}


def mirepoix(shop: Shop, *words: str) -> dict[str, object]:
    """What the command line prints for programs."""
    command = [sys.executable, "-c", "from mirepoix.cli.main import mirepoix; mirepoix()", "--ledger", shop.url]
    done = fork_server.run([*command, *words, "--json"], shop.folder, {}, timeout_s=DEADLINE_S)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_fails_is_grouped_replayed_and_called_a_regression(shop: Shop) -> None:
    worker = shop.worker("w1", env={"MIREPOIX_RELEASE": "r1"})
    failed = [shop.send("fail", f"order {number}") for number in range(4)]
    again = shop.send("again", 2)
    for id in failed:
        shop.wait(id, "failed")
    shop.wait(again, "succeeded")
    seen = groups(shop)
    assert set(seen) == {"ValueError: order <n> in shop.fail", "KeyError: <value> in shop.again"}
    group = seen["ValueError: order <n> in shop.fail"]
    assert (group.failures, group.kept, group.first_release, group.name) == (4, 4, "r1", "shop.fail")
    assert seen["KeyError: <value> in shop.again"].failures == 2
    worker.stop()

    report = mirepoix(shop, "failures", "replay", group.id, "--limit", "2")
    replayed = report["replayed"]
    assert len(replayed) == 2
    undone = mirepoix(shop, "failures", "undo", str(report["replay"]))
    assert sorted(undone["taken_back"]) == sorted(replayed)
    assert {shop.state(id) for id in failed} == {"failed"}

    mirepoix(shop, "failures", "resolve", group.id, "--in-release", "r2")
    shop.worker("w2", env={"MIREPOIX_RELEASE": "r2"})
    mirepoix(shop, "failures", "replay", group.id)
    until(lambda: groups(shop)[group.title].failures == 8, "all failed again")
    after = groups(shop)[group.title]
    assert (after.status, after.regressed_in, after.regressions) == ("regressed", "r2", 1)
