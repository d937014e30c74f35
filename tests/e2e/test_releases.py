"""What one release's code cannot take waits for another's: no order of the deploy matters, and no hand is needed."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from typing import Any

import pytest
from workers import DEADLINE_S, Process, Shop, until

pytestmark = pytest.mark.slow

_numbers = itertools.count(1)

SEND = """
import json, sys, released
for name, args in json.loads(sys.argv[1]):
    print(released.app.tasks["released." + name].delay(*args).id)
"""
CHAIN = """
import released
from celery import chain
print(chain(released.again.si(0), released.again.si(7)).apply_async().parent.id)
"""
WORKFLOW = """
import released
from celery import chain, chord
pack, ship, charge = released.pack, released.ship, released.charge
after = ship.s("x") if released.RELEASE == 1 else charge.s("USD")
if "{kind}" == "chain":
    sent = chain(pack.s(1), after).apply_async()
elif "{kind}" == "link":
    sent = pack.apply_async((1,), link=after)
else:
    sent = chord([pack.s(1), pack.s(2)], after).apply_async()
"""


def worker(shop: Shop, release: int, name: str | None = None, **options: Any) -> Process:
    """A worker with that release's code."""
    name = name or f"release{release}"
    return shop.worker(name, "--include", "released", env={"RELEASE": str(release)}, **options)


def sent(shop: Shop, release: int, *calls: tuple[str, list[Any]], code: str = SEND) -> list[str]:
    """Send them from that release's code; return their ids."""
    process = shop.start(
        f"sender{release}-{next(_numbers)}", "-c", code, json.dumps(calls), env={"RELEASE": str(release)}
    )
    process.ends()
    assert process.exit_code == 0, process.said
    return process.said.split()


def given(shop: Shop, ids: list[str]) -> list[Any]:
    """What their code got in the end."""
    found = {effect.id: effect.more["given"] for effect in shop.effects(what="begin")}
    return [found[id] for id in ids]


def ran_once(shop: Shop, ids: list[str]) -> None:
    """Each ran to its end, once."""
    shop.wait(ids, "succeeded")
    ends = Counter(effect.id for effect in shop.effects(what="end"))
    assert {id: ends[id] for id in ids if ends[id] != 1} == {}


OLD = [
    *(("bill", [n]) for n in range(20)),
    *(("charge", [n]) for n in range(20)),
    *(("ship", [n, "x"]) for n in range(20)),
]


def test_what_an_incompatible_deploy_parked_runs_after_its_rollback(shop: Shop):
    ids = sent(shop, 1, *OLD)
    bad = worker(shop, 2)
    shop.wait(ids, "parked")
    assert Counter(shop.row(id)["parked_for"] for id in ids) == {"task": 20, "arguments": 40}
    worker(shop, 1)
    ran_once(shop, ids)
    assert given(shop, ids) == [
        *({"order": n} for n in range(20)),
        *({"order": n} for n in range(20)),
        *({"order": n, "note": "x"} for n in range(20)),
    ]
    assert bad.is_running


def test_what_an_incompatible_deploy_parked_runs_when_upcasters_are_deployed(shop: Shop):
    ids = sent(shop, 1, *OLD)
    worker(shop, 2)
    shop.wait(ids, "parked")
    worker(shop, 3)
    ran_once(shop, ids)
    assert given(shop, ids) == [
        *({"order": n} for n in range(20)),
        *({"order": n, "currency": "EUR"} for n in range(20)),
        *({"order": n} for n in range(20)),
    ]


def test_what_a_new_sender_writes_waits_for_a_new_worker(shop: Shop):
    worker(shop, 1)
    ids = sent(shop, 3, ("invoice", [1]), ("charge", [2, "USD"]), ("ship", [3]))
    shop.wait(ids, "parked")
    assert [shop.row(id)["parked_for"] for id in ids] == ["task", "version", "version"]
    assert "supports released.charge up to version 1" in shop.row(ids[1])["reason"]
    worker(shop, 3)
    ran_once(shop, ids)
    assert given(shop, ids) == [{"order": 1}, {"order": 2, "currency": "USD"}, {"order": 3}]


def test_upcasters_are_applied_in_a_row_and_once_although_the_task_retries(shop: Shop):
    ids = [*sent(shop, 1, ("again", [0])), *sent(shop, 2, ("again", [0])), *sent(shop, 3, ("again", [0]))]
    worker(shop, 3)
    shop.wait(ids, "succeeded")
    assert given(shop, ids) == [[0, 1, 2], [0, 2], [0]]
    assert [shop.row(id)["version"] for id in ids] == [3, 3, 3]
    assert [shop.runs(id) for id in ids] == [2, 2, 2]


def test_the_rest_of_a_chain_is_of_the_version_it_was_written_in(shop: Shop):
    old, new = sent(shop, 1, code=CHAIN)[0], sent(shop, 3, code=CHAIN)[0]
    worker(shop, 3)
    until(lambda: len(shop.effects(what="end")) == 4, "both chains ran")
    ends = {effect.id: effect.more["given"] for effect in shop.effects(what="begin")}
    assert sorted(ends.values()) == [[0], [0, 1, 2], [7], [7, 1, 2]]
    assert (ends[old], ends[new]) == ([0, 1, 2], [0])


@pytest.mark.parametrize("kind", ["chain", "link", "chord"])
def test_what_follows_a_task_is_not_held_against_the_signature_of_the_code_that_sends_it(shop: Shop, kind: str):
    orders: Any = [1, 2] if kind == "chord" else 1
    old = worker(shop, 1)
    sent(shop, 3, code=WORKFLOW.replace("{kind}", kind))
    until(lambda: "parked" in shop.ledger.states().values(), "what the new code sends after it is parked by the old")
    new = worker(shop, 3)
    until(lambda: follow_ups(shop), "it ran")
    assert follow_ups(shop) == [{"order": orders, "currency": "USD"}]
    old.stop()
    sent(shop, 1, code=WORKFLOW.replace("{kind}", kind))
    until(lambda: len(follow_ups(shop)) == 2, "what the old code sends after it ran")
    assert follow_ups(shop)[1] == {"order": orders}
    shop.wait(list(shop.ledger.states()), "succeeded")
    assert new.is_running


MAP = """
import released
print(released.charge.{how}.apply_async().id)
"""


def test_the_calls_in_a_map_are_not_run_by_code_of_another_version(shop: Shop):
    new = worker(shop, 3)
    (old_id,) = sent(shop, 1, code=MAP.replace("{how}", "map([1, 2])"))
    shop.wait(old_id, "parked")
    assert "no upcaster is used inside of celery.map" in shop.row(old_id)["reason"]
    assert shop.effects(what="begin") == []
    (new_id,) = sent(shop, 3, code=MAP.replace("{how}", "starmap([(3, 'USD')])"))
    shop.wait(new_id, "succeeded")
    new.stop()
    worker(shop, 1)
    shop.wait(old_id, "succeeded")
    assert [effect.more["given"]["order"] for effect in shop.effects(what="begin")] == [3, 1, 2]


def follow_ups(shop: Shop) -> list[Any]:
    """What the tasks after released.pack got."""
    return [effect.more["given"] for effect in shop.effects(what="begin") if effect.name != "released.pack"]


def test_a_payload_whose_upcaster_fails_is_parked_and_not_tried_for_ever(shop: Shop):
    worker(shop, 3, concurrency=1)
    (id,) = sent(shop, 1, ("again", [666]))
    until(lambda: len(shop.ledger.attempts(id)) == 4, "it was taken up three times")
    shop.wait(id, "parked")
    row = shop.row(id)
    assert row["parked_for"] == "upcast"
    assert "from version 2 failed: ValueError: an upcaster that fails" in row["reason"]
    assert shop.runs(id) == 0
    # Others of its kind are not kept waiting.
    ran_once(shop, sent(shop, 1, ("bill", [1])))


def test_who_waits_for_a_parked_task_gets_its_result_when_code_comes_in_time(shop: Shop):
    client = shop.client(parked_failure_after_s=60.0)
    worker(shop, 1)
    result = client.send_task("released.charge", (1, "USD"))
    shop.wait(result.id, "parked")
    assert result.state == "PENDING"
    worker(shop, 2)
    assert result.get(timeout=DEADLINE_S) is None


def test_who_waits_for_a_parked_task_is_told_after_a_while_that_it_failed(shop: Shop):
    client = shop.client(parked_failure_after_s=0.0)
    worker(shop, 1)
    result = client.send_task("released.charge", (1, "USD"))
    with pytest.raises(TypeError, match="too many positional arguments"):
        result.get(timeout=DEADLINE_S)
    unknown = client.send_task("released.nothing")
    with pytest.raises(Exception, match=r"released\.nothing"):
        unknown.get(timeout=DEADLINE_S)


def test_what_is_parked_is_not_taken_by_workers_of_other_queues(shop: Shop):
    worker(shop, 2)
    (id,) = sent(shop, 1, ("charge", [1]))
    shop.wait(id, "parked")
    other = worker(shop, 1, "other", conf={"task_default_queue": "elsewhere"})
    elsewhere = shop.app.send_task("released.bill", (5,), queue="elsewhere").id
    shop.wait(elsewhere, "succeeded")
    assert shop.state(id) == "parked"
    assert other.is_running
