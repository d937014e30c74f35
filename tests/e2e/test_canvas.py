"""Chords in every shape: the body gets every value once, in the header's order, or the error callbacks are called."""

from __future__ import annotations

import json
from typing import Any

import pytest
from celery import chain, chord, group
from celery.canvas import Signature, StampingVisitor
from celery.exceptions import ChordError
from celery.result import AsyncResult
from workers import DEADLINE_S, Shop, until

from releases import CELERY, SENT_ONCE, since

pytestmark = pytest.mark.slow


def add(shop: Shop, *numbers: int) -> Signature:
    return shop.task("add", *numbers)


def collect(shop: Shop, *more: Any) -> Signature:
    return shop.task("collect", *more)


def adds(shop: Shop, count: int) -> list[Signature]:
    """Tasks that return 0, 2, 4 …"""
    return [add(shop, number, number) for number in range(count)]


def answer(result: AsyncResult) -> Any:
    return result.get(timeout=DEADLINE_S)


def raises(result: AsyncResult) -> Exception:
    """What the body itself is said to have raised; by default Celery's get() raises what a member did."""
    with pytest.raises(ChordError) as caught:
        result.get(timeout=DEADLINE_S, follow_parents=False)
    return caught.value


def fired(shop: Shop, body: AsyncResult) -> None:
    """The body ran once, and nothing of its chord is left."""
    shop.wait(body.id, "succeeded")
    assert shop.runs(body.id) == 1
    assert [a["outcome"] for a in shop.ledger.history(body.id)] == ["succeeded"]
    everything_is_counted(shop, body, "fired")


def everything_is_counted(shop: Shop, body: AsyncResult, state: str) -> None:
    group_id = body.parent.id
    assert shop.ledger.query("SELECT state FROM mirepoix_chord WHERE group_id = :id", id=group_id) == [(state,)]
    assert shop.ledger.query("SELECT 1 FROM mirepoix_chord_part WHERE group_id = :id", id=group_id) == []


# ---- shapes


def test_a_chord_of_tasks(open_shop: Shop) -> None:
    body = chord(adds(open_shop, 5), collect(open_shop), app=open_shop.app).delay()
    assert answer(body) == [0, 2, 4, 6, 8]
    fired(open_shop, body)
    assert body.parent.join(timeout=DEADLINE_S) == [0, 2, 4, 6, 8]


def test_a_chord_of_one_task(open_shop: Shop) -> None:
    body = chord([add(open_shop, 1, 1)], collect(open_shop), app=open_shop.app).delay()
    assert answer(body) == [2]
    fired(open_shop, body)


def test_a_chord_of_nothing_sends_its_body_at_once(open_shop: Shop) -> None:
    body = chord([], collect(open_shop), app=open_shop.app).delay()
    assert answer(body) == []


def test_a_chord_of_a_hundred(open_shop: Shop) -> None:
    body = chord(adds(open_shop, 100), collect(open_shop), app=open_shop.app).delay()
    assert answer(body) == [2 * number for number in range(100)]
    fired(open_shop, body)


def test_a_chord_whose_header_is_a_generator(open_shop: Shop) -> None:
    header = (add(open_shop, number, number) for number in range(4))
    body = chord(header, collect(open_shop), app=open_shop.app).delay()
    assert answer(body) == [0, 2, 4, 6]
    fired(open_shop, body)


def test_a_chord_of_chains(open_shop: Shop) -> None:
    header = [add(open_shop, n, n) | add(open_shop, 10) | add(open_shop, 100) for n in range(3)]
    body = chord(header, collect(open_shop), app=open_shop.app).delay()
    assert answer(body) == [110, 112, 114]
    fired(open_shop, body)


def test_a_chain_of_chords(open_shop: Shop) -> None:
    steps = chain(
        add(open_shop, 1, 1),
        group([add(open_shop, n) for n in range(3)], app=open_shop.app),
        collect(open_shop),
        group([collect(open_shop, n) for n in range(2)], app=open_shop.app),
        collect(open_shop),
        app=open_shop.app,
    )
    assert answer(steps.delay()) == [[[2, 3, 4], 0], [[2, 3, 4], 1]]


def test_a_chain_into_a_chord_and_on(open_shop: Shop) -> None:
    last = (
        add(open_shop, 1, 1)
        | chord([add(open_shop, n) for n in range(3)], collect(open_shop))
        | collect(open_shop, "end")
    )
    assert answer(last.delay()) == [[2, 3, 4], "end"]


@SENT_ONCE
def test_a_group_in_a_chain_of_the_header_keeps_its_shape(open_shop: Shop) -> None:
    split = add(open_shop, 1, 1) | group([add(open_shop, 10), add(open_shop, 20)], app=open_shop.app)
    body = chord([split, add(open_shop, 1, 1), split], collect(open_shop), app=open_shop.app).delay()
    assert answer(body) == [[12, 22], 2, [12, 22]]
    fired(open_shop, body)
    assert body.parent.join(timeout=DEADLINE_S) == [[12, 22], 2, [12, 22]]


def test_a_group_in_a_group_is_unrolled_as_celery_does(open_shop: Shop) -> None:
    inner = group([add(open_shop, 1, 0), add(open_shop, 2, 0)], app=open_shop.app)
    middle = group([inner, add(open_shop, 3, 0)], app=open_shop.app)
    body = chord([add(open_shop, 0, 0), middle, add(open_shop, 4, 0)], collect(open_shop), app=open_shop.app).delay()
    assert sorted(answer(body)) == [0, 1, 2, 3, 4]
    assert answer(body) == body.parent.join(timeout=DEADLINE_S)
    fired(open_shop, body)


def test_a_chord_in_the_header_of_a_chord(open_shop: Shop) -> None:
    inner = chord(adds(open_shop, 3), collect(open_shop), app=open_shop.app)
    body = chord([inner, add(open_shop, 1, 1)], collect(open_shop), app=open_shop.app).delay()
    assert answer(body) == [[0, 2, 4], 2]


def test_a_body_that_is_a_group(open_shop: Shop) -> None:
    both = group([collect(open_shop, n) for n in range(2)], app=open_shop.app)
    body = chord(adds(open_shop, 3), both, app=open_shop.app).delay()
    assert body.join(timeout=DEADLINE_S) == [[[0, 2, 4], 0], [[0, 2, 4], 1]]
    assert [open_shop.runs(one.id) for one in body.results] == [1, 1]


def test_a_body_that_is_a_chain(open_shop: Shop) -> None:
    body = chord(adds(open_shop, 3), collect(open_shop) | collect(open_shop, "more"), app=open_shop.app).delay()
    assert answer(body) == [[0, 2, 4], "more"]
    assert answer(body.parent) == [0, 2, 4]


def test_a_body_that_is_a_chord(open_shop: Shop) -> None:
    inner = chord([collect(open_shop, n) for n in range(2)], collect(open_shop), app=open_shop.app)
    body = chord(adds(open_shop, 2), inner, app=open_shop.app).delay()
    assert answer(body) == [[[0, 2], 0], [[0, 2], 1]]


@since(5, 7, otherwise="it refuses them: a chord hands them to its header")
def test_a_body_with_a_link(open_shop: Shop) -> None:
    link = collect(open_shop, "linked")
    link.freeze()
    body = chord(adds(open_shop, 2), collect(open_shop), app=open_shop.app).apply_async(link=link)
    assert answer(body) == [0, 2]
    assert answer(AsyncResult(link.id, app=open_shop.app)) == [[0, 2], "linked"]


def test_a_chord_that_a_task_sends(open_shop: Shop) -> None:
    id = open_shop.send("sends_chord", 4)
    body = AsyncResult(answer(AsyncResult(id, app=open_shop.app)), app=open_shop.app)
    assert answer(body) == [0, 2, 4, 6]
    assert open_shop.runs(body.id) == 1
    assert open_shop.row(body.id)["root_id"] == id


@since(5, 6, otherwise="the members of a group that takes a member's place all have that one's place")
def test_members_that_give_way(open_shop: Shop) -> None:
    header = [
        open_shop.task("replaced_in_place", 1),
        open_shop.task("replaced_by_chain"),
        open_shop.task("replaced_by_chord", 3),
        open_shop.task("replaced_by_group", 2),
        add(open_shop, 1, 1),
    ]
    body = chord(header, collect(open_shop), app=open_shop.app).delay()
    assert answer(body) == [101, 6, [0, 2, 4], [0, 2], 2]
    fired(open_shop, body)


def test_a_member_that_gives_way_in_the_middle_of_a_chain(open_shop: Shop) -> None:
    header = [open_shop.task("replaced_by_chord", 3) | collect(open_shop, "then"), add(open_shop, 1, 1)]
    body = chord(header, collect(open_shop), app=open_shop.app).delay()
    assert answer(body) == [[[0, 2, 4], "then"], 2]


def test_a_member_that_adds_another(open_shop: Shop) -> None:
    body = chord(
        [open_shop.task("adds_to_chord", 1), add(open_shop, 1, 1)], collect(open_shop), app=open_shop.app
    ).delay()
    assert sorted(answer(body)) == [1, 2, 1001]
    fired(open_shop, body)


def test_members_whose_results_are_ignored_still_count_with_their_values(open_shop: Shop) -> None:
    header = [open_shop.task("quiet", n) for n in range(3)]
    body = chord(header, collect(open_shop), app=open_shop.app).delay()
    assert answer(body) == [0, 1, 2]
    fired(open_shop, body)


def test_a_member_that_retries_counts_once(open_shop: Shop) -> None:
    body = chord([open_shop.task("again", 2), add(open_shop, 1, 1)], collect(open_shop), app=open_shop.app).delay()
    assert answer(body) == [None, 2]
    fired(open_shop, body)


@SENT_ONCE
def test_a_chord_that_is_sent_twice_under_its_ids_runs_twice(open_shop: Shop) -> None:
    signature = chord(adds(open_shop, 2), collect(open_shop), app=open_shop.app)
    first, second = signature.delay(), signature.delay()
    assert (answer(first), answer(second)) == ([0, 2], [0, 2])
    assert first.id != second.id


# ---- where the body comes from


def test_the_body_descends_from_the_header(open_shop: Shop) -> None:
    root = add(open_shop, 1, 1)
    root.freeze()
    last = (root | group([add(open_shop, n) for n in range(3)], app=open_shop.app) | open_shop.task("request")).delay()
    told = answer(last)
    members = {result.id for result in last.parent.results}
    assert told["root"] == root.id
    # Before 5.7 Celery says itself, where the chord is sent, that its body descends from what sends it.
    assert told["parent"] in (members if CELERY >= (5, 7) else {root.id})
    row = open_shop.row(last.id)
    assert (row["root_id"], row["parent_id"]) == (root.id, told["parent"])


class Marked(StampingVisitor):
    """Stamps everything."""

    def on_signature(self, sig: Any, **headers: Any) -> dict[str, Any]:
        return {"order": "o-1", "stamped_headers": ["order"]}


def test_the_body_carries_its_stamps(open_shop: Shop) -> None:
    signature = chord(adds(open_shop, 3), open_shop.task("request"), app=open_shop.app)
    signature.stamp(Marked())
    told = answer(signature.delay())
    assert told["stamps"] == {"order": ["o-1"]} or told["stamps"] == {"order": "o-1"}
    assert told["stamped"] == ["order"]


def test_the_body_goes_where_it_says(shop: Shop) -> None:
    shop.worker("w1", "-Q", "celery,slow")
    body = shop.task("request").set(queue="slow", priority=7)
    told = answer(chord(adds(shop, 2), body, app=shop.app).delay())
    assert (told["queue"], told["priority"]) == ("slow", 7)


# ---- failures


def test_a_member_that_fails_fails_the_chord(open_shop: Shop) -> None:
    broken = open_shop.task("fail", "no stock")
    body = chord([add(open_shop, 1, 1), broken, add(open_shop, 2, 2)], collect(open_shop), app=open_shop.app).delay()
    error = raises(body)
    assert "no stock" in str(error)
    assert body.parent.results[1].id in str(error)
    until(body.parent.results[2].ready, "the others ran")
    everything_is_counted(open_shop, body, "failed")
    assert body.id not in open_shop.ledger.states()
    assert body.state == "FAILURE"


def test_a_failed_chord_calls_the_errbacks_of_its_body_in_both_styles(open_shop: Shop) -> None:
    old = open_shop.task("old_errback")
    old.freeze()
    body = collect(open_shop).on_error(open_shop.task("new_errback")).on_error(old)
    result = chord([open_shop.task("fail"), add(open_shop, 1, 1)], body, app=open_shop.app).delay()
    raises(result)
    open_shop.wait(old.id, "succeeded")
    assert open_shop.effects(old.id, "begin")[0].more == {"failed": result.id}
    (told,) = open_shop.errbacks(result.id)
    assert told.more["error"].startswith("ChordError")


@since(5, 7, otherwise="it refuses them: a chord hands them to its header")
def test_a_chord_with_link_error(open_shop: Shop) -> None:
    old = open_shop.task("old_errback")
    old.freeze()
    result = chord([open_shop.task("fail")], collect(open_shop), app=open_shop.app).apply_async(link_error=old)
    raises(result)
    open_shop.wait(old.id, "succeeded")
    assert open_shop.effects(old.id, "begin")[0].more == {"failed": result.id}


def test_every_member_fails_and_the_chord_fails_once(open_shop: Shop) -> None:
    body = collect(open_shop).on_error(open_shop.task("new_errback"))
    result = chord([open_shop.task("fail", str(n)) for n in range(5)], body, app=open_shop.app).delay()
    raises(result)
    for member in result.parent.results:
        open_shop.wait(member.id, "failed")
    assert len(open_shop.errbacks(result.id)) == 1


def test_a_step_that_fails_in_a_chain_of_the_header_fails_the_chord(open_shop: Shop) -> None:
    broken = add(open_shop, 1, 1) | open_shop.task("two", b=1) | open_shop.task("fail") | add(open_shop, 1)
    result = chord([broken, add(open_shop, 1, 1)], collect(open_shop), app=open_shop.app).delay()
    raises(result)
    everything_is_counted(open_shop, result, "failed")


@pytest.mark.parametrize("end", ["group", "chord", "group and task", "group of chains"])
@pytest.mark.parametrize("how", ["fails", "is cancelled"])
def test_a_chain_of_the_header_that_never_comes_to_its_group_fails_the_chord(
    open_shop: Shop, how: str, end: str
) -> None:
    app = open_shop.app
    both = group([add(open_shop, 1), add(open_shop, 2)], app=app)
    rest = {
        "group": both,
        "chord": chord([add(open_shop, 1), add(open_shop, 2)], collect(open_shop), app=app),
        "group and task": both | collect(open_shop),
        "group of chains": group([add(open_shop, 1) | add(open_shop, 2), add(open_shop, 3)], app=app),
    }[end]
    first = open_shop.task("fail") if how == "fails" else open_shop.task("note").set(queue="nobody")
    result = chord([first | rest, add(open_shop, 1, 1)], collect(open_shop), app=app).delay()
    if how == "is cancelled":
        group_id = result.parent.id
        ((id,),) = open_shop.ledger.query(
            "SELECT id FROM mirepoix_task WHERE queue = 'nobody' AND state = 'pending' AND created_at >= "
            "(SELECT created_at FROM mirepoix_chord WHERE group_id = :id)",
            id=group_id,
        )
        app.control.revoke(id)
    raises(result)
    everything_is_counted(open_shop, result, "failed")


def test_what_follows_a_failed_chord_fails_with_it(open_shop: Shop) -> None:
    last = (
        group([open_shop.task("fail"), add(open_shop, 1, 1)], app=open_shop.app)
        | collect(open_shop)
        | collect(open_shop, 1)
    ).delay()
    raises(last)


def test_a_body_that_is_a_group_fails_as_a_whole(open_shop: Shop) -> None:
    both = group([collect(open_shop, n) for n in range(2)], app=open_shop.app)
    result = chord([open_shop.task("fail", "no stock")], both, app=open_shop.app).delay()
    for one in result.results:
        with pytest.raises(ValueError, match="no stock"):
            answer(one)


def test_a_chord_in_a_chord_fails_both(open_shop: Shop) -> None:
    inner = chord([open_shop.task("fail"), add(open_shop, 1, 1)], collect(open_shop), app=open_shop.app)
    outer = chord([inner, add(open_shop, 1, 1)], collect(open_shop), app=open_shop.app).delay()
    raises(outer)
    everything_is_counted(open_shop, outer, "failed")


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("kind", ["body", "chain", "group", "chord"])
def test_a_chord_that_fails_in_a_chord_fails_what_encloses_it(open_shop: Shop, kind: str, depth: int) -> None:
    body = {
        "body": collect(open_shop),
        "chain": collect(open_shop) | collect(open_shop),
        "group": group([collect(open_shop), collect(open_shop)], app=open_shop.app),
        "chord": chord([collect(open_shop), collect(open_shop)], collect(open_shop), app=open_shop.app),
    }[kind]
    failing = open_shop.task("fail")
    for _ in range(depth):
        failing = chord([failing, add(open_shop, 1, 1)], body.clone(), app=open_shop.app)
    outer = chord([failing, add(open_shop, 1, 1)], collect(open_shop), app=open_shop.app).delay()
    raises(outer)
    everything_is_counted(open_shop, outer, "failed")


@pytest.mark.parametrize("kind", ["chain", "chord"])
def test_every_result_of_a_body_that_is_not_sent_is_a_failure(open_shop: Shop, kind: str) -> None:
    body = {
        "chain": collect(open_shop) | add(open_shop, 1) | collect(open_shop),
        "chord": chord([collect(open_shop), collect(open_shop)], collect(open_shop), app=open_shop.app),
    }[kind]
    last = chord([open_shop.task("fail")], body, app=open_shop.app).delay()
    while isinstance(last, AsyncResult):
        raises(last)
        last = last.parent


def test_a_member_whose_error_cannot_be_shown_fails_the_chord(open_shop: Shop) -> None:
    result = chord([open_shop.task("unprintable"), add(open_shop, 1, 1)], collect(open_shop), app=open_shop.app).delay()
    raises(result)
    everything_is_counted(open_shop, result, "failed")


@pytest.mark.parametrize("is_chain", [False, True], ids=["task", "chain"])
def test_a_failure_too_large_for_a_message_fails_the_chord(shop: Shop, is_chain: bool) -> None:
    worker = shop.worker(payload_limit_bytes=20_000)
    broken = shop.task("big_failure", 30_000)
    header = [broken | add(shop, 1) if is_chain else broken, add(shop, 1, 1)]
    result = chord(header, collect(shop), app=shop.app).delay()
    raises(result)
    everything_is_counted(shop, result, "failed")
    assert worker.is_running


def test_a_failure_that_can_be_told_to_no_callback_fails_the_chord(shop: Shop) -> None:
    worker = shop.worker(payload_limit_bytes=300)  # too little for any message that holds the body
    result = chord([shop.task("fail"), add(shop, 1, 1)], collect(shop), app=shop.app).delay()
    assert "raised" in str(raises(result))
    everything_is_counted(shop, result, "failed")
    assert worker.is_running


def test_values_too_large_for_a_message_fail_the_chord(shop: Shop) -> None:
    worker = shop.worker(payload_limit_bytes=4_000)
    body = collect(shop).on_error(shop.task("new_errback"))
    result = chord([shop.task("big", 2_000) for _ in range(3)], body, app=shop.app).delay()
    assert "Callback error: PayloadTooLarge" in str(raises(result))
    shop.wait([member.id for member in result.parent.results], "succeeded")
    assert [told.more["failed"] for told in shop.errbacks(result.id)] == [result.id]
    everything_is_counted(shop, result, "failed")
    assert worker.is_running


# ---- members that end without running


@pytest.mark.parametrize("how", ["revoke", "cancel", "cancel without an app", "purge"])
def test_a_member_that_is_cancelled_while_it_waits_fails_the_chord(shop: Shop, how: str) -> None:
    ids = ["member", "step", "last step"]
    alone, step, last = (shop.task("note").set(queue="nobody", task_id=id) for id in ids)
    members = [alone, add(shop, 1, 1) | step | add(shop, 1), add(shop, 1, 1) | last]
    body = collect(shop).on_error(shop.task("new_errback"))
    results = [chord([member, add(shop, 1, 1)], body.clone(), app=shop.app).delay() for member in members]
    shop.worker()
    shop.wait(ids, "pending")
    if how == "revoke":
        shop.app.control.revoke(ids)
    elif how == "cancel":
        assert shop.celery("mirepoix", "cancel", *ids, "--yes").returncode == 0
    elif how == "purge":
        assert shop.celery("purge", "-f", "-Q", "nobody").returncode == 0
    else:
        command = ("-m", "mirepoix.cli", "--ledger", shop.url, "cancel", *ids, "--yes")
        assert shop.start("cancels", *command).ends().exit_code == 0, shop.logs()
    for result in results:
        assert "TaskRevokedError" in str(raises(result))
        everything_is_counted(shop, result, "failed")
    ids = [result.id for result in results]
    assert sorted(told.more["failed"] for told in shop.errbacks(*ids)) == sorted(ids)


def test_a_parked_member_that_is_discarded_fails_the_chord(shop: Shop) -> None:
    result = chord([shop.task("two", 1, 2, 3), add(shop, 1, 1)], collect(shop), app=shop.app).delay()
    shop.worker()
    member = result.parent.results[0].id
    shop.wait(member, "parked")
    assert shop.celery("mirepoix", "discard", member, "--yes", "--reason", "nonsense").returncode == 0
    assert "nonsense" in str(raises(result))
    everything_is_counted(shop, result, "failed")


def test_a_whole_chord_that_is_purged_fails(shop: Shop) -> None:
    result = chord(adds(shop, 5), collect(shop), app=shop.app).delay()
    assert shop.celery("purge", "-f").returncode == 0
    shop.worker()
    raises(result)
    everything_is_counted(shop, result, "failed")


@pytest.mark.parametrize("is_held", [False, True], ids=["waiting", "held"])
def test_a_member_that_expires_fails_the_chord(shop: Shop, is_held: bool) -> None:
    member = shop.task("note").set(expires=0.5, queue="celery" if is_held else "nobody")
    if is_held:
        shop.worker(concurrency=1, conf={"worker_prefetch_multiplier": 4})
        gate = shop.send("gate", "open", priority=9)
        shop.begun(gate)
    else:
        shop.worker()
    result = chord([member, add(shop, 1, 1)], collect(shop), app=shop.app).delay()
    id = result.parent.results[0].id
    if is_held:
        until(lambda: shop.state(id) in ("leased", "expired"), "it is held")
        until(lambda: _is_past(shop, id), "its time is over")
        shop.make("open")
    raises(result)
    assert shop.state(id) == "expired"
    everything_is_counted(shop, result, "failed")


def _is_past(shop: Shop, id: str) -> bool:
    now = {
        "sqlite": "strftime('%Y-%m-%d %H:%M:%f', 'now')",
        "postgresql": "clock_timestamp()",
        "mysql": "UTC_TIMESTAMP(6)",
    }[shop.ledger.source.dialect]
    sql = f"SELECT 1 FROM mirepoix_task WHERE id = :id AND expires_at < {now}"
    return bool(shop.ledger.query(sql, id=id))


def test_a_member_that_is_revoked_while_it_is_held_fails_the_chord(shop: Shop) -> None:
    shop.worker(concurrency=1, conf={"worker_prefetch_multiplier": 4})
    gate = shop.send("gate", "open", priority=9)
    shop.begun(gate)
    result = chord([shop.task("note"), add(shop, 1, 1)], collect(shop), app=shop.app).delay()
    id = result.parent.results[0].id
    until(lambda: shop.state(id) == "leased", "it is held")
    shop.app.control.revoke(id, reply=True, limit=1, timeout=DEADLINE_S)
    shop.make("open")
    raises(result)
    assert (shop.state(id), shop.runs(id)) == ("cancelled", 0)
    everything_is_counted(shop, result, "failed")


def test_a_member_that_is_terminated_fails_the_chord(shop: Shop) -> None:
    shop.worker()
    result = chord([shop.task("gate", "never"), add(shop, 1, 1)], collect(shop), app=shop.app).delay()
    id = result.parent.results[0].id
    shop.begun(id)
    shop.app.control.revoke(id, terminate=True, signal="SIGKILL")
    raises(result)
    shop.wait(id, "cancelled")
    everything_is_counted(shop, result, "failed")


def test_a_member_that_runs_out_of_time_fails_the_chord(shop: Shop) -> None:
    shop.worker()
    member = shop.task("gate", "never").set(time_limit=1)
    result = chord([member, add(shop, 1, 1)], collect(shop), app=shop.app).delay()
    assert "TimeLimitExceeded" in str(raises(result))
    everything_is_counted(shop, result, "failed")


def test_a_chord_waits_for_a_member_that_is_quarantined_and_goes_on_when_it_is_requeued(shop: Shop) -> None:
    shop.worker(max_deaths=1)
    shop.make("die")
    result = chord([shop.task("die_once", "die"), add(shop, 1, 1)], collect(shop), app=shop.app).delay()
    quarantined, other = (member.id for member in result.parent.results)
    shop.wait(quarantined, "quarantined")
    shop.wait(other, "succeeded")
    everything = shop.ledger.query("SELECT done, size, state FROM mirepoix_chord")
    assert everything == [(1, 2, "waiting")]
    assert result.id not in shop.ledger.states()
    assert shop.celery("mirepoix", "requeue", quarantined, "--yes").returncode == 0
    assert answer(result) == [None, 2]
    fired(shop, result)


def test_a_quarantined_member_that_is_discarded_fails_the_chord(shop: Shop) -> None:
    shop.worker(max_deaths=1)
    result = chord([shop.task("die"), add(shop, 1, 1)], collect(shop), app=shop.app).delay()
    id = result.parent.results[0].id
    shop.wait(id, "quarantined")
    assert shop.celery("mirepoix", "discard", id, "--yes").returncode == 0
    raises(result)
    everything_is_counted(shop, result, "failed")


def test_a_failed_member_that_is_requeued_does_not_end_the_chord_again(shop: Shop) -> None:
    shop.worker()
    body = collect(shop).on_error(shop.task("new_errback"))
    result = chord([shop.task("pay", "fail"), add(shop, 1, 1)], body, app=shop.app).delay()
    raises(result)
    id = result.parent.results[0].id
    shop.make("mended")
    assert shop.celery("mirepoix", "requeue", id, "--yes").returncode == 0
    shop.wait(id, "succeeded")
    assert len(shop.errbacks(result.id)) == 1
    assert result.id not in shop.ledger.states()
    everything_is_counted(shop, result, "failed")


# ---- together with the caller's transaction, and the outcome


@SENT_ONCE
def test_a_chord_is_sent_with_its_callers_transaction_or_not_at_all(shop: Shop) -> None:
    import sqlite3
    from urllib.parse import urlsplit

    import psycopg
    import pymysql

    import mirepoix

    signature = chord(adds(shop, 3), collect(shop), app=shop.app)
    path = shop.url.removeprefix("sqlite:///")
    if shop.url.startswith("mysql"):
        parts = urlsplit(shop.url)
        connection = pymysql.connect(
            host=parts.hostname, port=parts.port, user=parts.username, database=parts.path.strip("/")
        )
    else:
        connection = sqlite3.connect(path) if shop.url.startswith("sqlite") else psycopg.connect(shop.url)
    with mirepoix.using(connection):
        signature.delay()
    connection.rollback()
    assert (shop.ledger.states(), shop.ledger.query("SELECT 1 FROM mirepoix_chord")) == ({}, [])
    with mirepoix.using(connection):
        result = signature.delay()
    connection.commit()
    connection.close()
    shop.worker()
    assert answer(result) == [0, 2, 4]
    fired(shop, result)


def test_a_body_is_a_row_with_its_values_in_clear(shop: Shop) -> None:
    shop.worker()
    result = chord(adds(shop, 2), collect(shop), app=shop.app).delay()
    answer(result)
    assert json.loads(shop.row(result.id)["body"])[0] == [[0, 2]]
