"""What must hold of a ledger and of the effects on disk, whoever died and whenever.

The tasks are those that `load.produce` sends.
"""

from __future__ import annotations

from collections import Counter

from workers import Shop

SENT = (
    *(f"group-{i}" for i in range(4)),
    *("chain-1", "broken-1", "link-1", "failed-1", "retried-1", "parent", "dies", "spin", "pay", "later"),
    *(f"note-{i}" for i in range(4)),
)
FAIL = frozenset({"broken-1", "failed-1"})
CONTINUATIONS = {
    "chain-2": "chain-1",
    "chain-3": "chain-2",
    "link-2": "link-1",
    "broken-2": "broken-1",
    "retried-2": "retried-1",
    "dies-2": "dies",
}
"""What is sent with a success, and whose."""
ERRBACKS = {"failed-2": "failed-1"}
"""What is sent with a failure, and whose."""


def all_finished(shop: Shop) -> None:
    """Wait until everything that was sent, and all that followed from it, has ended."""
    followed = [id for id, first in CONTINUATIONS.items() if first not in FAIL]
    shop.wait([*SENT, *followed, *ERRBACKS, "child"])


def check(shop: Shop) -> None:
    """Check all of it."""
    nothing_was_lost(shop)
    one_success_a_generation(shop)
    no_success_without_a_lease(shop)
    continuations_exist_exactly_with_their_outcome(shop)
    fences_only_rise(shop)
    no_two_runs_overlap(shop)
    what_a_step_returned_is_what_every_attempt_got(shop)


def nothing_was_lost(shop: Shop) -> None:
    """Every committed task ended in the state that its code asks for, and was run."""
    states = shop.ledger.states()
    assert not set(SENT) - set(states)
    assert states == {id: "failed" if id in FAIL else "succeeded" for id in states}
    assert [id for id in states if not shop.runs(id)] == []


def one_success_a_generation(shop: Shop) -> None:
    """No generation of a task has two attempts that succeeded, and nothing that succeeded ran again."""
    successes = Counter(
        shop.ledger.query("SELECT task_id, generation FROM mirepoix_attempt_history WHERE outcome = 'succeeded'")
    )
    assert [key for key, count in successes.items() if count > 1] == []
    generations = dict(shop.ledger.query("SELECT id, generation FROM mirepoix_task"))
    # A parent that dies after it has sent its child, and runs again, sends it again; by then the child may have ended.
    assert generations.pop("child") in range(shop.runs("parent"))
    assert generations == {id: 2 if id == "retried-1" else 0 for id in generations}


def no_success_without_a_lease(shop: Shop) -> None:
    """Whatever ended was held by a worker that the ledger knows."""
    workers = {id for (id,) in shop.ledger.query("SELECT id FROM mirepoix_worker")}
    for id, fence, worker_id in shop.ledger.query("SELECT id, fence, worker_id FROM mirepoix_task"):
        assert fence > 0, id
        assert worker_id in workers, id


def continuations_exist_exactly_with_their_outcome(shop: Shop) -> None:
    """What follows a success is there if and only if it succeeded; what follows a failure, if it failed."""
    states = shop.ledger.states()
    for following, outcome in ((CONTINUATIONS, "succeeded"), (ERRBACKS, "failed")):
        for id, first in following.items():
            assert (id in states) == (states.get(first) == outcome), (id, first)
    assert "child" in states


def fences_only_rise(shop: Shop) -> None:
    """Each run of a task had a higher fence than the one before, and the ledger's is the highest."""
    fences: dict[str, list[int]] = {}
    for effect in shop.effects(what="begin"):
        assert effect.fence is not None
        fences.setdefault(effect.id, []).append(effect.fence)
    for id, seen in fences.items():
        assert seen == sorted(set(seen)), id
        assert seen[-1] == shop.row(id)["fence"], id


def no_two_runs_overlap(shop: Shop) -> None:
    """No run found the lock of its task taken by another."""
    assert shop.effects(what="overlap") == []


def what_a_step_returned_is_what_every_attempt_got(shop: Shop) -> None:
    """One result was kept, however often the work was begun, and it was begun under one key."""
    assert shop.ledger.query("SELECT task_id, name FROM mirepoix_step") == [("pay", "charge")]
    charges, paid = shop.effects("pay", "charge"), shop.effects("pay", "paid")
    assert 1 <= len(charges) <= 2
    assert len({charge.more["key"] for charge in charges}) == 1
    assert {effect.more["in_process"] for effect in paid} == {charges[-1].pid}
