"""Where a member of a chord ends without running, no code of the user's runs inside of the ledger's transaction."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery, chord, signals

import mirepoix
from driver import Ledger
from mirepoix.celery import chords
from mirepoix.connect.url import source_for
from mirepoix.ledger import chords as ledger_chords

ran: list[Any] = []


class Odd(Exception):
    """An error of the user's."""

    def __init__(self, *args: Any) -> None:
        ran.append("the class of an error")
        super().__init__(*args)


def note(*_args: Any, sender: Any = "a router", **_options: Any) -> None:
    ran.append(sender)


@pytest.fixture
def app(ledger_url: str) -> Iterator[Celery]:
    """One whose senders are read by receivers and by a router."""
    app = Celery("shop", set_as_current=False)
    mirepoix.install(app, ledger_url)
    app.conf.task_routes = [note]
    for name in ("shop.add", "shop.collect", "shop.told"):
        app.task(note, name=name, shared=False, typing=False)
    for signal in (signals.before_task_publish, signals.after_task_publish):
        signal.connect(note)
    yield app
    for signal in (signals.before_task_publish, signals.after_task_publish):
        signal.disconnect(note)
    app.mirepoix.source.close()


def send_chord(app: Celery) -> None:
    header = [
        app.signature("shop.add", options={"task_id": id, "queue": "mail", "headers": {"tenant": "blue"}})
        for id in ("a", "b")
    ]
    body = app.signature("shop.collect", options={"task_id": "body"}).on_error(app.signature("shop.told"))
    chord(header, body, app=app).delay()
    assert "a router" in ran
    ran.clear()


def check_failure(ledger: Ledger, message: str) -> None:
    assert ran == []
    (row,) = ledger.rows("SELECT * FROM mirepoix_task WHERE name = 'mirepoix.fail_chord'")
    headers = row["headers"] if isinstance(row["headers"], dict) else json.loads(row["headers"])
    assert (row["queue"], row["parent_id"], headers["tenant"], headers["id"]) == ("mail", "b", "blue", row["id"])
    (callback, told, cause), _, _ = json.loads(row["body"])
    assert (callback["options"]["task_id"], told) == ("body", message)
    assert message.endswith(f"{cause['exc_type']}({cause['exc_message'][0]!r})")


def test_what_tells_of_a_members_end_is_sent_past_receivers_and_routers(app: Celery, ledger_url: str):
    send_chord(app)
    for id in ("a", "b"):
        app.control.revoke(id)
    with Ledger(source_for(ledger_url)) as ledger:
        check_failure(ledger, "Dependency a raised TaskRevokedError('revoked')")


def test_no_error_is_made_anew_of_what_another_member_raised(app: Celery, ledger_url: str):
    send_chord(app)
    raised = json.dumps({"exc_type": "Odd", "exc_message": ["no"], "exc_module": __name__})
    with app.mirepoix.source.transaction() as tx:
        chords.return_parts(app.mirepoix, tx, [part for part, _ in ledger_chords.members(tx, ["a"], "FAILURE", raised)])
    with app.mirepoix.source.transaction() as tx:
        chords.return_ended(app.mirepoix, tx, ["b"], "expired")
    with Ledger(source_for(ledger_url)) as ledger:
        check_failure(ledger, "Dependency a raised Odd('no')")
