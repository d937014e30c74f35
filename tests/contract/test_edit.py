"""A payload is edited only while it is as it was seen and no worker has it; everything that was not named is kept."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from driver import Ledger, rolled_back, until_somebody_waits_for_a_lock
from mirepoix.celery.edit import HIDDEN, Change, Refused, edited
from mirepoix.connect.source import Source
from mirepoix.ledger import edit, finish, operate, take
from mirepoix.ledger.query.task_detail import task_detail
from mirepoix.protocol import payload as payloads
from mirepoix.records import VERSION_HEADER, AttemptFailure, IncompatibilityKind
from mirepoix.states import State

EDITABLE = {"pending", "parked", "failed", "quarantined"}
EMBED = '{"callbacks": [{"task": "shop.mail", "args": [], "kwargs": {}}],  "chord": null, "odd": 1.000000000000000001}'
DAY = '{"__type__": "datetime", "__value__": "2026-03-29T02:30:00+00:00"}'
BODY = f'[["order-1", {DAY}],{{"amount" : 10.000000000000000000001, "note": "\\u0000 Köln \\ud83d"}}, {EMBED}]'
HEADERS = {
    "lang": "py",
    "task": "shop.pay",
    "id": "t",
    "argsrepr": "('order-1', datetime.datetime(2026, 3, 29, 2, 30, tzinfo=datetime.timezone.utc))",
    "kwargsrepr": "my own",
    "retries": 0,
    "timelimit": [None, 0.1],
    "odd": "\0 🧅",
}
SET = Change(set={"amount": 11, "currency": "EUR"})


def send(ledger: Ledger, *task_ids: str, **fields: Any) -> None:
    """As Celery writes it."""
    ledger.send(*task_ids, **{"body": BODY, "headers": HEADERS, **fields})


def seen(ledger: Ledger, task_id: str) -> edit.Seen:
    found = ledger.do(edit.look, task_id)
    assert found is not None
    return found


def planned(found: edit.Seen, change: Change = SET, limit_bytes: int = 10_000) -> edit.Edited:
    new = edited(found.payload, change, limit_bytes=limit_bytes)
    assert not isinstance(new, Refused), new
    return new


def change(ledger: Ledger, task_id: str, change: Change = SET) -> bool:
    found = seen(ledger, task_id)
    return ledger.do(edit.edit, found, planned(found, change), "ann@web", "wrong amount")


def refusal(ledger: Ledger, change: Change = SET, limit_bytes: int = 10_000) -> str:
    new = edited(seen(ledger, "t").payload, change, limit_bytes=limit_bytes)
    assert isinstance(new, Refused)
    return new.why


def headers_of(ledger: Ledger, task_id: str = "t") -> dict[str, Any]:
    return seen(ledger, task_id).payload.headers


@pytest.mark.parametrize("state", State)
def test_only_what_no_worker_has_and_is_not_over_is_edited(ledger: Ledger, state: str):
    send(ledger, "t")
    ledger.write(f"UPDATE mirepoix_task SET state = '{state}' WHERE id = 't'")
    assert change(ledger, "t") is (state in EDITABLE)
    assert ledger.state("t") == state
    assert ("currency" in ledger.row("t")["body"]) is (state in EDITABLE)
    assert ledger.counts()["mirepoix_edit"] == int(state in EDITABLE)


def test_what_is_not_named_is_kept_to_the_letter(ledger: Ledger):
    send(ledger, "t")
    before = ledger.row("t")
    assert change(ledger, "t")
    after = ledger.row("t")
    assert after["body"] == (
        f'[["order-1", {DAY}], {{"amount": 11, "note": "\\u0000 Köln \\ud83d", "currency": "EUR"}}, {EMBED}]'
    )
    assert headers_of(ledger) == {**HEADERS, "kwargsrepr": HIDDEN}
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"body", "headers", "shape"}


def test_the_headers_that_repeat_the_arguments_follow_them(ledger: Ledger):
    send(ledger, "t", headers={**HEADERS, "kwargsrepr": "{'a': 2}"}, body='[["order-1", 1], {"a": 2}, null]')
    assert change(ledger, "t", Change(args=["order-2"], kwargs={"b": "x"}))
    shown = headers_of(ledger)
    # The caller's own text for args does not tell these: it may have hidden them.
    assert (shown["argsrepr"], shown["kwargsrepr"]) == (HIDDEN, "{'b': 'x'}")
    send(ledger, "u", headers={**HEADERS, "argsrepr": "('order-1',)"}, body='[["order-1"], {}, {}]')
    assert change(ledger, "u", Change(args=["order-2"]))
    assert headers_of(ledger, "u")["argsrepr"] == "('order-2',)"
    send(ledger, "v", headers={"task": "shop.pay"})
    assert change(ledger, "v")
    assert headers_of(ledger, "v") == {"task": "shop.pay"}


def test_name_and_version_are_changed_wherever_they_stand(ledger: Ledger):
    send(ledger, "t")
    assert change(ledger, "t", Change(name="shop.charge", version=3))
    row = ledger.row("t")
    assert (row["name"], row["version"]) == ("shop.charge", 3)
    assert json.loads(row["shape"])[0] == ["shop.charge", 3, 2, ["amount", "note"]]
    assert json.loads(row["shape"])[1:] == [["shop.mail", 1, 1, []]]
    assert headers_of(ledger) == {**HEADERS, "task": "shop.charge", VERSION_HEADER: 3}
    assert change(ledger, "t", Change(version=1))
    assert payloads.version_in(headers_of(ledger)) == ledger.row("t")["version"] == 1


def test_keywords_are_set_left_out_and_replaced(ledger: Ledger):
    send(ledger, "t")
    assert change(ledger, "t", Change(args=[], kwargs={"a": 1, "b": 2}, set={"c": [None, {"d": "\0"}]}, unset={"a"}))
    assert ledger.row("t")["body"] == f'[[], {{"b": 2, "c": [null, {{"d": "\\u0000"}}]}}, {EMBED}]'


def test_each_edit_is_noted_with_who_and_why(ledger: Ledger):
    send(ledger, "t", body='[[1], {"a": 2}, {}]')
    assert change(ledger, "t", Change(set={"a": 3}))
    assert change(ledger, "t", Change(name="shop.other", unset=frozenset({"a"})))
    detail = ledger.do(task_detail, "t")
    first, second = detail.edits
    assert (first.edited_by, first.reason) == ("ann@web", "wrong amount")
    assert (first.before, first.after) == (
        edit.Written("shop.pay", 1, [1], {"a": 2}),
        edit.Written("shop.pay", 1, [1], {"a": 3}),
    )
    assert (second.before, second.after) == (first.after, edit.Written("shop.other", 1, [1], {}))
    assert first.edited_at <= second.edited_at
    assert [str(call) for call in detail.calls] == ["shop.other(·)"]


def test_odd_words_are_kept_as_they_are(ledger: Ledger):
    odd = "'; DROP TABLE mirepoix_task; -- %s %(x)s :name {now} 🧅 \\u0000"
    send(ledger, odd)
    found = seen(ledger, odd)
    assert ledger.do(edit.edit, found, planned(found, Change(set={odd: odd})), odd, f"{odd}\0")
    (noted,) = ledger.do(task_detail, odd).edits
    assert (noted.edited_by, noted.reason) == (odd, f"{odd}\\x00")
    assert noted.after.kwargs[odd] == odd


def test_notes_go_with_their_task(ledger: Ledger):
    send(ledger, "t")
    change(ledger, "t")
    ledger.cancel("t")
    ledger.passes(60)
    assert ledger.do(operate.prune, 1.0) == 1
    assert ledger.counts()["mirepoix_edit"] == 0


def test_what_a_worker_took_since_it_was_seen_is_not_edited(ledger: Ledger):
    ledger.worker("w1")
    send(ledger, "t")
    found = seen(ledger, "t")
    ledger.take("w1")
    _is_refused(ledger, found)


def test_what_waits_again_after_another_attempt_is_not_edited_by_what_was_seen_before_it(ledger: Ledger):
    ledger.worker("w1")
    send(ledger, "t")
    found = seen(ledger, "t")
    ledger.give_back("w1", [ledger.lease("w1")])
    assert ledger.state("t") == found.state == "pending"
    assert ledger.row("t")["fence"] == found.fence + 1
    _is_refused(ledger, found)


def test_what_was_requeued_since_is_not_edited(ledger: Ledger):
    ledger.worker("w1")
    send(ledger, "t")
    ledger.fail(ledger.lease("w1"))
    found = seen(ledger, "t")
    ledger.requeue("t")
    ledger.write("UPDATE mirepoix_task SET state = 'failed'")
    _is_refused(ledger, found)


def test_of_two_edits_of_the_same_sight_the_second_is_refused(ledger: Ledger):
    send(ledger, "t")
    found = seen(ledger, "t")
    assert ledger.do(edit.edit, found, planned(found), "ann", "first")
    _is_refused(ledger, found, edits=1)


def test_an_edit_and_a_take_at_once_have_one_winner(source: Source, ledger: Ledger):
    if source.dialect == "sqlite":
        pytest.skip("SQLite has one writer at a time: one of them begins after the other's commit")
    ledger.worker("w1")
    send(ledger, "t")
    found = seen(ledger, "t")
    is_edited = []

    def edits() -> None:
        with Ledger(source) as other:
            is_edited.append(other.do(edit.edit, found, planned(found), "ann", "too late"))

    editor = threading.Thread(target=edits)
    with ledger.connection.transaction() as tx:
        (taken,) = take.take(tx, "w1", ["celery"], 1)
        editor.start()
        with Ledger(source) as watcher:
            until_somebody_waits_for_a_lock(watcher)
    editor.join()
    assert is_edited == [False]
    assert (taken.body, ledger.row("t")["body"], ledger.counts()["mirepoix_edit"]) == (BODY, BODY, 0)


def test_a_lost_attempt_can_write_nothing_over_an_edit(ledger: Ledger):
    ledger.worker("w1")
    send(ledger, "t")
    zombie = ledger.lease("w1")
    ledger.die("w1")
    ledger.reap()
    assert change(ledger, "t")
    edit_of = ledger.row("t")["body"]
    assert not ledger.retry(zombie, body='[["zombie"], {}, {}]')
    assert not ledger.do(finish.park, zombie, AttemptFailure("zombie"))
    assert (ledger.state("t"), ledger.row("t")["body"]) == ("pending", edit_of)


def test_an_edit_that_is_rolled_back_is_none(ledger: Ledger):
    send(ledger, "t")
    found = seen(ledger, "t")
    with rolled_back(ledger.connection) as tx:
        assert edit.edit(tx, found, planned(found), "ann", "never mind")
    assert ledger.row("t")["body"] == BODY
    assert ledger.counts()["mirepoix_edit"] == 0


def test_what_is_parked_is_found_by_what_it_calls_now(ledger: Ledger):
    ledger.worker("w1")
    send(ledger, "t")
    old = planned(seen(ledger, "t")).shape
    ledger.do(
        finish.park,
        ledger.lease("w1"),
        AttemptFailure("no such task"),
        IncompatibilityKind.TASK,
        '[["shop.pay",1,0,[]]]',
    )
    assert change(ledger, "t", Change(name="shop.charge"))
    row = ledger.row("t")
    assert (row["state"], row["parked_for"]) == ("parked", "task")
    assert row["reason"] == "edited, and not tried since: wrong amount"
    (shape,) = ledger.do(take.parked_shapes)
    assert json.loads(shape)[0] == ["shop.charge", 1, 2, ["amount", "note"]]
    assert shape != old
    assert ledger.do(take.parked_of_shape, shape, ["celery"], 5) == ["t"]
    (taken,) = ledger.do(take.resume_parked, "w1", ["t"])
    assert (taken.name, taken.headers["task"]) == ("shop.charge", "shop.charge")


def test_a_failed_task_keeps_the_reason_of_its_failure_until_it_is_requeued(ledger: Ledger):
    ledger.worker("w1")
    send(ledger, "t")
    ledger.fail(ledger.lease("w1"))
    assert change(ledger, "t")
    assert (ledger.state("t"), ledger.row("t")["reason"]) == ("failed", "it went wrong")
    ledger.requeue("t")
    assert json.loads(ledger.take("w1")[0].body)[1]["currency"] == "EUR"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"content_type": "application/x-yaml"}, "its body is not plain JSON (application/x-yaml, utf-8)"),
        ({"body_encoding": "base64"}, "its body is not plain JSON (application/json, base64)"),
        ({"body": "{"}, "protocol 2"),
        ({"body": "[[], {}]"}, "protocol 2"),
        ({"body": "[{}, {}, {}]"}, "protocol 2"),
        ({"body": '{"args": [], "kwargs": {}}'}, "protocol 2"),
    ],
)
def test_what_is_not_celerys_json_is_refused(ledger: Ledger, fields: dict[str, Any], why: str):
    send(ledger, "t", **fields)
    assert why in refusal(ledger)


def test_what_makes_no_difference_or_cannot_be_is_refused(ledger: Ledger):
    send(ledger, "t", body='[[1], {"a": 1}, {}]')
    same = "it is like that already"
    assert refusal(ledger, Change(set={"a": 1}, version=1, name="shop.pay")) == same
    assert refusal(ledger, Change(args=[1], kwargs={"a": 1})) == same
    assert refusal(ledger, Change(unset=frozenset({"b", "c"}))) == "it has no keyword b, c"
    assert "(payload_limit_bytes)" in refusal(ledger, Change(set={"a": "x" * 100}), limit_bytes=100)
    odd = {"__type__": "datetime", "__value__": "no day"}
    assert "a worker could not decode it" in refusal(ledger, Change(set={"a": odd}))
    # Python holds them to be equal.
    assert change(ledger, "t", Change(set={"a": True}))
    assert change(ledger, "t", Change(set={"a": 1.0}))


def _is_refused(ledger: Ledger, found: edit.Seen, edits: int = 0) -> None:
    body = ledger.row("t")["body"]
    assert not ledger.do(edit.edit, found, planned(found, Change(set={"late": 1})), "ann", "too late")
    assert ledger.row("t")["body"] == body
    assert ledger.counts()["mirepoix_edit"] == edits
