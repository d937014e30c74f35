"""`mirepoix pause` and `mirepoix resume`, and what the other commands say of what is paused."""

from __future__ import annotations

from driver import Ledger
from mirepoix.ledger import holds, limits
from mirepoix.ledger.holds import Kind
from mirepoix.ledger.limits import Bounds


def held(ledger: Ledger, name: str = "shop.pay") -> None:
    """A worker takes what waits, and holds what is paused."""
    leases = [taken.lease for taken in ledger.take("w1") if taken.name == name]
    ledger.do(holds.hold_taken, "w1", name, leases)


def test_a_paused_queue_is_not_late_and_every_command_says_so(cli, ledger):
    ledger.worker("w1")
    ledger.send("t")
    assert "queue 'celery' is paused now, by ann since" in cli("pause", "queue", "celery", "--by", "ann").stdout
    assert "is paused already, by ann" in cli("pause", "queue", "celery", "--by", "bob").stdout
    ledger.write("UPDATE mirepoix_task SET created_at = '2020-01-01 00:00:00'")
    said = cli("status").stdout
    assert "ALL WELL" in said
    assert "queue 'celery' is paused, by ann since" in said
    assert "1 task waits" in said
    assert cli.json("status")["paused"][0]["hold"]["paused_by"] == "ann"
    assert "paused, by ann" in cli("top", "--once").stdout
    health = cli("health").stdout
    assert "ok   queues: nothing has waited" in health
    assert "ok   paused: queue 'celery' is paused, by ann" in health
    why = cli("why", "t").stdout
    assert "Its queue 'celery' is paused by ann since" in why
    assert "Next: Resume it: mirepoix resume queue celery" in why
    assert "is paused by ann" in cli("show", "t").stdout
    assert "queue 'celery' is resumed" in cli("resume", "queue", "celery").stdout
    assert "ACT NOW" not in cli("status").stdout
    assert "WELL" not in cli("status").stdout  # it has waited for years
    assert "was not paused" in cli("resume", "queue", "celery").stdout


def test_what_was_forgotten_is_a_warning(cli, ledger):
    ledger.worker("w1")
    ledger.send("t")
    cli("pause", "task", "shop.pay", "--by", "ann", "--note", "the bank is down")
    held(ledger)
    ledger.write("UPDATE mirepoix_hold SET paused_at = '2020-01-01 00:00:00'")
    said = cli("status").stdout
    assert "LOOK" in said
    assert "task 'shop.pay' is paused, by ann since 2020-01-01" in said
    assert "resume it: mirepoix resume task shop.pay" in said
    assert "FAIL paused: task 'shop.pay' is paused" in cli("health", code=1).stdout
    assert "Task 'shop.pay' is paused by ann" in cli("why", "t").stdout
    (line,) = cli.json("tasks")["tasks"]
    assert (line["due_at"], line["held_by"]) == (None, "task shop.pay")
    assert "paused: task shop.pay" in cli("tasks", columns=120).stdout
    assert cli.json("tasks", "--state", "scheduled")["tasks"] == []
    assert cli.json("resume", "task", "shop.pay") == {
        "command": "resume",
        "kind": "task",
        "name": "shop.pay",
        "done": True,
        "released": 1,
    }
    assert ledger.take_ids("w1") == ["t"]


def test_a_name_that_nothing_knows_is_refused_and_names_like_it_are_shown(cli, ledger):
    ledger.worker("w1")
    ledger.send("t")
    for kind, typed, right in (
        ("queue", "celry", "celery"),
        ("task", "shop.psy", "shop.pay"),
        ("worker", "w1@hots", "w1@host"),
    ):
        said = cli("pause", kind, typed, code=2).stderr
        assert f"Names that are spelled like it: {right!r}." in said
        assert "--force" in said
        assert ledger.do(holds.read) == []
    assert "No worker in the ledger runs release '7'." in cli("pause", "release", "7", code=2).stderr
    assert cli.json("pause", "queue", "not yet", "--force")["done"]
    cli("pause", "queue", "", "--force", code=2)
    assert "paused: queue 'not yet'" in cli("resume", "queue", "nothing").stdout


def test_waiting_for_a_pause_ends_when_nothing_of_it_runs(cli, ledger):
    ledger.worker("w1")
    ledger.send("t")
    lease = ledger.lease("w1")
    ledger.start(lease)
    said = cli("pause", "task", "shop.pay", "--wait", "--for", "0s", code=1).stdout
    assert "1 task still with workers" in said
    ledger.succeed(lease)
    cli("pause", "task", "shop.pay", "--wait")
    cli("pause", "worker", "w1@host", "--wait")


def test_a_key_of_a_limit_is_paused_and_every_command_says_so(cli, ledger):
    ledger.worker("w1")
    ledger.do(limits.put, "export", Bounds(2), "ana")
    ledger.send("a", "b", limit_key="export:ann")
    ledger.send("c", limit_key="export:bob")
    assert "is paused now, by ann" in cli("pause", "limit", "export:ann", "--by", "ann").stdout
    assert "limit 'export:ann' is paused, by ann since" in cli("status").stdout
    assert "2 tasks wait" in cli("status").stdout
    assert "Resume it: mirepoix resume limit export:ann" in cli("why", "a").stdout
    cli("pause", "limit", "export", "--by", "ann")
    assert "3 tasks wait" in cli("status").stdout
    assert "spelled like it: 'export:ann', 'export'." in cli("pause", "limit", "exprt:ann", code=2).stderr
    ledger.write("UPDATE mirepoix_hold SET paused_at = '2020-01-01 00:00:00'")
    assert "FAIL paused: limit 'export' is paused" in cli("health", code=1).stdout
    for name in ("export:ann", "export"):
        assert cli.json("resume", "limit", name)["done"]
    acts = ledger.query("SELECT verb, kind, value, decided_by FROM mirepoix_steering ORDER BY id")
    assert acts[:2] == [("pause", "limit", "export:ann", "ann"), ("pause", "limit", "export", "ann")]


def test_a_worker_that_takes_nothing_more_is_named(cli, ledger):
    ledger.worker("w1")
    ledger.send("t")
    cli("pause", "worker", "w1@host", "--by", "ann")
    why = cli("why", "t").stdout
    assert "Every live worker that consumes queue 'celery' takes nothing more." in why
    assert "Worker 'w1@host' takes nothing more, by ann since" in why
    assert "worker 'w1@host' takes nothing more, by ann" in cli("status").stdout
    assert [hold.kind for hold in ledger.do(holds.read)] == [Kind.WORKER]
