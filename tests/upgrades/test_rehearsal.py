"""Every older version that is listed is upgraded to this one and back, with work in its ledger and real processes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from older import installed, source_of, versions
from rehearsal import Rehearsal
from upgrade_harness import Software
from workers import Process, until

from brokers import RedisServer

pytestmark = [pytest.mark.slow, pytest.mark.thorough, pytest.mark.timeout(900)]

ALL_QUEUES = "celery,of-old,of-new,shelf"


@pytest.fixture(scope="module", params=versions(), ids=lambda version: version[:8])
def old(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Software:
    """An older version, installed from its own wheel."""
    cache = getattr(request.config, "cache", None)
    folder = cache.mkdir("environments") if cache is not None else tmp_path_factory.mktemp("environments")
    return installed(request.param, source_of(request.param, tmp_path_factory.mktemp("older")), folder)


def waiting(name: str) -> dict[str, str]:
    """Where the tasks of a backlog are while nobody consumes the queue ``shelf``."""
    return {
        f"{name}-done": "succeeded",
        f"{name}-running": "running",
        f"{name}-failed": "failed",
        f"{name}-parked": "parked",
        f"{name}-retried": "pending",
        f"{name}-later": "pending",
        **{f"{name}-waiting-{number}": "pending" for number in range(3)},
        **{f"{name}-part-{number}": "succeeded" if number < 2 else "pending" for number in range(3)},
        f"{name}-first": "pending",
    }


def ended(name: str) -> dict[str, str]:
    """Where they are at the end, but the one that is parked."""
    followed = dict.fromkeys([f"{name}-{end}" for end in ("body", "second", "third")], "succeeded")
    return {**{id: "succeeded" for id in waiting(name) if id != f"{name}-parked"}, **followed}


def test_an_upgrade_and_the_way_back_lose_and_repeat_nothing(old: Software, empty_url: str, tmp_path: Path):
    with Rehearsal(tmp_path / "rehearsal", empty_url, old) as rehearsal:
        rehearse(rehearsal)


@pytest.mark.parametrize("empty_url", ["postgresql"], indirect=True)
def test_an_upgrade_behind_a_broker_loses_and_repeats_nothing(
    old: Software, empty_url: str, redis: RedisServer, tmp_path: Path
):
    redis.flush()
    with Rehearsal(tmp_path / "rehearsal", empty_url, old, redis.url) as rehearsal:
        rehearse(rehearsal)


def rehearse(it: Rehearsal) -> None:
    """The whole of it."""
    old_worker, old_sender = begin(it)
    migrate(it, old_sender)
    old_worker, streams = run_beside(it, old_worker, old_sender)
    new_worker = run_new_alone(it, old_worker)
    go_back(it, new_worker)
    account(it, streams)


def begin(it: Rehearsal) -> tuple[Process, Process]:
    """The old version makes its ledger, and has a task of each kind in it."""
    it.mirepoix(it.old, "migrate")
    it.old_pauses = ("0021_steering",) in it.ledger.query("SELECT name FROM mirepoix_migration")
    worker = it.worker(it.old, "old-1", "celery,of-old")
    it.backlog(it.old, "up")
    it.begun("up-retried", 1)
    it.are(waiting("up"))
    assert it.ledger.row("up-retried")["retries"] == 1
    return worker, it.stream(it.old, "old-stream")


def migrate(it: Rehearsal, sender: Process) -> None:
    """The schema is this version's, while the old worker and the old sender go on."""
    until(lambda: it.sent(sender), "the old sender sends")
    it.mirepoix(it.new, "migrate")
    before = len(it.sent(sender))
    until(lambda: len(it.sent(sender)) > before + 10, "the old sender goes on")
    it.are(dict.fromkeys(it.sent(sender), "succeeded"))
    it.make("up-running.go")
    it.are({"up-running": "succeeded"})
    it.mirepoix(it.old, "status")


def run_beside(it: Rehearsal, old_worker: Process, old_sender: Process) -> tuple[Process, list[str]]:
    """Workers and senders of both versions. A worker of each dies, and the other side takes its task back."""
    new_worker = it.worker(it.new, "new-1", "celery,of-new,shelf", pool="mirepoix")
    new_sender = it.stream(it.new, "new-stream")
    it.mirepoix(it.new, "retry", "up-retried", "up-later")
    it.are({id: state for id, state in ended("up").items() if id != "up-failed"})
    for sender in (old_sender, new_sender):
        until(lambda sent=sender: it.sides_of(it.sent(sent)) == {"old", "new"}, f"both run what {sender.name} sends")
    the_old_one_dies(it, old_worker)
    old_worker = it.worker(it.old, "old-2", "celery,of-old")
    it.begun("of-old", 2)
    it.make("of-old.go")
    for number in range(3):
        it.send(it.new, "limited", "oven.go", task_id=f"limited-{number}")
    it.send(it.new, "limited", "oven.go", task_id="limited-of-old", queue="of-old")
    it.mirepoix(it.new, "pause", "task", "pantry.pausable", "--force")
    it.send(it.new, "pausable", task_id="held", queue="of-new")
    it.send(it.new, "pausable", task_id="not-held", queue="of-old")
    it.make("oven.go")
    it.are({f"limited-{number}": "succeeded" for number in range(3)})
    if it.old_pauses:
        until(lambda: it.ledger.row("not-held")["held_by"], "the old worker holds it too")
    else:
        it.are({"not-held": "succeeded"})
    if not it.has_broker:  # with a broker it may wait for a new worker of its queue
        it.are({"limited-of-old": "succeeded"})
    until(lambda: it.ledger.row("held")["held_by"], "the task of the paused name is held")
    streams = it.dam(old_sender) + it.dam(new_sender)
    the_new_one_dies(it, new_worker)
    return old_worker, streams


def the_old_one_dies(it: Rehearsal, worker: Process) -> None:
    """SIGKILL to the old worker while it runs a task: the new one takes the task back."""
    it.send(it.new, "gated", "of-old.go", task_id="of-old", queue="of-old")
    it.begun("of-old", 1)
    it.met_no_error(worker)
    worker.remove()
    it.are({"of-old": "pending"})


def the_new_one_dies(it: Rehearsal, worker: Process) -> None:
    """SIGKILL to the new worker while it runs a task: the old one takes the task back."""
    it.send(it.old, "gated", "of-new.go", task_id="of-new", queue="of-new")
    it.begun("of-new", 1)
    it.met_no_error(worker)
    worker.remove()
    it.are({"of-new": "pending"})


def run_new_alone(it: Rehearsal, old_worker: Process) -> Process:
    """No old process is left, and the new code can take what was parked."""
    it.stop(old_worker)
    it.new.env["REHEARSAL_GROWN"] = "yes"
    worker = it.worker(it.new, "new-2", "celery,of-old,of-new", pool="mirepoix")
    it.make("of-new.go")
    it.make("mended")
    it.mirepoix(it.new, "retry", "up-failed")
    it.mirepoix(it.new, "resume", "task", "pantry.pausable")
    it.are({**ended("up"), "up-parked": "succeeded", "of-new": "succeeded", "held": "succeeded"})
    it.are({"limited-of-old": "succeeded", "not-held": "succeeded"})
    return worker


def go_back(it: Rehearsal, new_worker: Process) -> None:
    """The new version leaves work in the ledger, and goes. Old workers work it off, but not what is paused."""
    (it.folder / "mended").unlink()
    it.backlog(it.new, "back")
    it.mirepoix(it.new, "pause", "task", "pantry.pausable", "--force")
    for held in ("kept", "kept-too"):
        it.send(it.new, "pausable", task_id=held)
    for number in range(2):
        it.send(it.new, "limited", "oven.go", task_id=f"back-limited-{number}", queue="shelf")
    it.are(waiting("back"))
    until(lambda: it.ledger.row("kept")["held_by"] and it.ledger.row("kept-too")["held_by"], "both are held")
    new_worker.send(15)
    it.make("back-running.go")
    it.stop(new_worker)
    it.make("mended")
    worker = it.worker(it.old, "old-3", ALL_QUEUES)
    it.mirepoix(it.old, "retry", "back-retried", "back-later", "back-failed")
    it.mirepoix(it.old, "discard", "back-parked")
    it.are({**ended("back"), "back-limited-0": "succeeded", "back-limited-1": "succeeded"})
    it.are({"kept": "pending", "kept-too": "pending"})
    if not it.old_pauses:
        it.mirepoix(it.old, "retry", "kept-too")
        it.are({"kept-too": "succeeded", "kept": "pending"})
    it.mirepoix(it.new, "resume", "task", "pantry.pausable")
    it.are({"kept": "succeeded", "kept-too": "succeeded"})
    it.stop(worker)


def account(it: Rehearsal, streams: list[str]) -> None:
    """Every task has ended, and had its effect once. A lost attempt explains a second effect."""
    states = it.ledger.states()
    assert set(streams) <= set(states)
    assert {id: state for id, state in states.items() if state != "succeeded"} == {"back-parked": "cancelled"}
    effects = Counter(note["id"] for note in it.notes("effect"))
    lost = Counter(id for (id,) in it.ledger.query("SELECT task_id FROM mirepoix_attempt WHERE outcome = 'lost'"))
    assert set(effects - Counter(dict.fromkeys(effects, 1)) - lost) == set()
    assert {id: effects[id] for id in ("of-old", "of-new")} == {"of-old": 1, "of-new": 1}
    assert set(effects) == {id for id, state in states.items() if state == "succeeded"}
    results = {row["task_id"]: row["result"] for row in it.ledger.rows("SELECT * FROM mirepoix_result")}
    for name in ("up", "back"):
        assert [results[f"{name}-{end}"] for end in ("body", "third")] == ["6", "10"]
    fired = [id for (id,) in it.ledger.query("SELECT task_id FROM mirepoix_fire WHERE task_id IS NOT NULL")]
    assert fired
    assert set(fired) <= set(states)
