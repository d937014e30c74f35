"""`mirepoix alerts`, and the lines of `status` and `health` that point to it."""

from __future__ import annotations

from celery import Celery

import mirepoix
from driver import Ledger
from mirepoix.ledger import alerts
from mirepoix.records import Alert


def opened(ledger: Ledger) -> None:
    ledger.worker("w1")
    ledger.do(alerts.open_, Alert("parked:a", "parked", "a", "2 a tasks are\x1b parked", name="a"), ["logging"])


def test_without_alerts_it_says_so(cli):
    assert cli("alerts").stderr == "No alert is open.\n"
    assert cli.json("alerts") == {"alerts": []}
    assert " alerts: " not in cli("health", code=1).stdout


def test_what_is_open_is_listed_and_pointed_to(ledger: Ledger, cli):
    opened(ledger)
    said = cli("alerts").stdout
    assert "parked" in said
    assert "2 a tasks are\\x1b parked" in said
    (one,) = cli.json("alerts")["alerts"]
    assert (one["alert"]["kind"], one["told_at"]) == ("parked", None)
    assert "1 open alert, the latest: 2 a tasks are\\x1b parked; see: mirepoix alerts" in cli("status").stdout
    assert "ok   alerts: 1 open alert, the latest" in cli("health").stdout


def test_telling_needs_an_app_and_somebody_to_tell(cli, cli_of, ledger_url: str):
    assert "This needs the app" in cli("alerts", "--send", code=2).stderr
    app = Celery("shop", set_as_current=False)
    mirepoix.install(app, ledger_url)
    assert "The app has no channel for alerts. Set mirepoix_alerts" in cli_of(app)("alerts", "--watch", code=2).stderr
    assert "Give one of" in cli("alerts", "--send", "--test", code=2).stderr


def test_send_tells_and_notes_what_failed(ledger: Ledger, cli_of, ledger_url: str):
    app = Celery("shop", set_as_current=False)
    mirepoix.install(app, ledger_url, alerts=["logging", "http://127.0.0.1:1/hook"], alerts_grace_s=0)
    ledger.worker("w1")
    ledger.die("w1")
    cli = cli_of(app)
    said = cli("alerts", "--send", code=1).stdout
    assert "no workers" in said
    assert cli.json("alerts")["alerts"][0]["trouble"] == "URLError"


def test_a_test_says_which_channel_works(cli_of, ledger_url: str):
    app = Celery("shop", set_as_current=False)
    mirepoix.install(app, ledger_url, alerts=["logging", "http://127.0.0.1:1/hook"])
    said = cli_of(app)("alerts", "--test", code=1).stdout
    assert "ok   logging" in said
    assert "FAIL webhook 127.0.0.1:1 " in said
