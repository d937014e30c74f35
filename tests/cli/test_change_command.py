"""`mirepoix move`, `set-priority` and `postpone`: what they change, what they refuse, and who did it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from mirepoix.ledger import holds, take


def test_waiting_tasks_move_to_another_queue(cli, ledger):
    ledger.worker("w1")
    ledger.send("a", "b", body='[[], {"tenant": 7}, {}]', sent_fence=0)
    ledger.send("c", body='[[], {"tenant": 8}, {}]')
    assert "No live worker consumes queue 'celry'" in cli("move", "a", "--to", "celry", code=2).stderr
    said = cli("move", "--arg", "tenant=7", "--to", "slow", "--force", "--dry-run").stdout
    assert "will be moved to slow: 2 tasks" in said
    assert ledger.row("a")["queue"] == "celery"
    said = cli("move", "--arg", "tenant=7", "--to", "slow", "--force", "--yes", "--by", "ann", "--reason", "big").stdout
    assert "moved to slow: 2 tasks" in said
    assert ledger.take_ids("w1", queues=["celery"]) == ["c"]
    row = ledger.row("a")
    assert (row["queue"], row["exchange"], row["routing_key"], row["sent_fence"]) == ("slow", "", "slow", -1)
    assert "move by ann: big" in cli("show", "a").stdout.replace("  ", " ")
    assert "it is in that queue already" in cli("move", "a", "--to", "slow", "--yes", code=1).stdout
    assert "a worker has it already" in cli("move", "c", "--to", "slow", code=1).stdout


def test_the_priority_decides_again(cli, ledger):
    ledger.worker("w1")
    ledger.send("a", "b")
    assert cli.json("set-priority", "b", "--to", "9")["done"] == [{"id": "b", "did": "set to priority 9"}]
    assert "it has that priority already" in cli("set-priority", "b", "--to", "9", code=1).stdout
    assert ledger.take_ids("w1") == ["b", "a"]


def test_a_postponed_task_is_due_later_and_not_earlier(cli, ledger):
    ledger.worker("w1")
    ledger.send("a", "held")
    ledger.send("far", eta=(datetime.now(UTC) + timedelta(days=9)).isoformat())
    ledger.do(holds.pause, holds.Kind.TASK, "shop.pay", "ann", "")
    leases = [taken.lease for taken in ledger.take("w1")]
    assert ledger.do(holds.hold_taken, "w1", "shop.pay", leases) == {"a", "held"}
    said = cli("postpone", "a", "far", "--for", "2h", code=1).stdout
    assert "postponed: 1 task" in said
    assert "it is due later than that already" in said
    assert ledger.row("a")["held_by"] is None
    moment = f"{datetime.now(UTC) + timedelta(days=10):%Y-%m-%dT%H:%M}"
    assert "postponed: 1 task" in cli("postpone", "far", "--to", moment).stdout
    ledger.passes(7_201)
    assert ledger.do(take.release_due) == 1
    assert ledger.take_ids("w1") == ["a"]
    for wrong in ((), ("--for", "1h", "--to", moment), ("--to", "2h"), ("--to", "2020-01-01")):
        cli("postpone", "a", *wrong, code=2)
