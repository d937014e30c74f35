"""`mirepoix schedules`: people see what fires, and add, change, pause, run and backfill schedules."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import Celery

import mirepoix
from driver import Ledger
from mirepoix.celery import scheduling

NIGHTLY = ("nightly", "shop.report", "--cron", "0 3 * * *", "--timezone", "Europe/Berlin", "--by", "ana")


@pytest.fixture
def app(ledger_url: str) -> Iterator[Celery]:
    app = Celery("shop", set_as_current=False)
    app.conf.beat_schedule = {"tidy": {"task": "shop.tidy", "schedule": 300.0, "args": ["all"]}}
    mirepoix.install(app, ledger_url, schedules=True)

    @app.task(name="shop.report")
    def report(*args: Any, **kwargs: Any) -> None: ...

    @app.task(name="shop.tidy", schedule=None)
    def tidy(what: str) -> None: ...

    yield app
    app.mirepoix.source.close()


@pytest.fixture
def cli(app: Celery, cli_of: Any) -> Any:
    return cli_of(app)


@pytest.fixture
def code(app: Celery) -> Any:
    """Records what the code defines, as a worker that starts."""
    return lambda: scheduling.record_own(app.mirepoix, "worker w1")


def test_a_schedule_is_added_shown_changed_and_removed(cli: Any, ledger: Ledger):
    assert "added: nightly, next " in cli("schedules", "add", *NIGHTLY, "--args", '["daily"]').stdout
    shown = cli("schedules", "show", "nightly").stdout
    assert 'sends     shop.report("daily")' in shown
    assert "fires     0 3 * * *  (Europe/Berlin)" in shown
    assert "by ana, revision 0" in shown
    cli("schedules", "edit", "nightly", "--every", "2h", "--overlap", "skip")
    (line,) = cli.json("schedules", "list")["schedules"]
    assert (line["when"], line["timezone"], line["owner"]) == ("every 2h", "Europe/Berlin", "database")
    definition = cli.json("schedules", "show", "nightly")["definition"]
    assert definition["args"] == ["daily"]
    assert definition["plan"] == {"every_s": 7200.0, "overlap": "skip", "timezone": "Europe/Berlin"}
    cli("schedules", "edit", "nightly", "--overlap", "skip", code=2)  # no change
    assert "removed: nightly" in cli("schedules", "remove", "nightly").stdout
    assert cli.json("schedules", "list")["schedules"] == []
    assert "There is no schedule 'nightly'" in cli("schedules", "remove", "nightly", code=2).stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("n", "shop.report"), "exactly one of cron, every_s, at, solar"),
        (("n", "shop.report", "--cron", "0 3 * *"), "'0 3 * *' is no cron expression: Wrong number of fields"),
        (("n", "shop.report", "--cron", "0 3 * * *", "--timezone", "Berlin"), "'Berlin' is no time zone"),
        (("n", "shop.reprot", "--every", "1m"), "The app has no task 'shop.reprot'"),
        (("n" * 256, "shop.report", "--every", "1m"), "cannot name a schedule"),
        (("n", "shop.report", "--every", "1m", "--args", "{}"), "it must be an array"),
    ],
)
def test_what_is_wrong_is_named_before_anything_is_written(cli: Any, ledger: Ledger, words: tuple[str, ...], says: str):
    assert says in " ".join(cli("schedules", "add", *words, code=2, columns=1000).stderr.split())
    assert ledger.query("SELECT count(*) FROM mirepoix_schedule") == [(0,)]


def test_a_second_schedule_of_that_name_is_refused(cli: Any):
    cli("schedules", "add", *NIGHTLY)
    assert "There is a schedule 'nightly' already" in cli("schedules", "add", *NIGHTLY, code=2).stderr


def test_a_schedule_of_the_code_can_be_paused_and_not_edited(cli: Any, code: Any, ledger: Ledger):
    code()
    assert "defined by the app's code" in cli("schedules", "edit", "tidy", "--every", "1m", code=2).stderr
    assert "defined by the app's code" in cli("schedules", "remove", "tidy", code=2).stderr
    assert cli("schedules", "pause", "tidy", "--reason", "migration", "--by", "ana").stdout == "paused: tidy\n"
    assert cli("schedules", "pause", "tidy").stdout == "tidy is paused already\n"
    code()  # a worker that starts does not resume it
    (line,) = cli.json("schedules", "list")["schedules"]
    assert (line["state"], line["paused_reason"], line["drift"]) == ("paused", "migration", None)
    assert "resumed: tidy, next" in cli("schedules", "resume", "tidy", "--by", "ben").stdout
    assert cli("schedules", "resume", "tidy").stdout == "tidy is not paused\n"
    acts = ledger.query("SELECT verb, kind, value, decided_by, reason FROM mirepoix_steering ORDER BY id")
    assert acts == [("pause", "schedule", "tidy", "ana", "migration"), ("resume", "schedule", "tidy", "ben", "")]


def test_where_code_and_ledger_differ_is_shown(cli: Any, code: Any, app: Celery):
    code()
    app.conf.beat_schedule = {
        "tidy": {"task": "shop.tidy", "schedule": 600.0, "args": ["some"]},
        "new": {"task": "shop.tidy", "schedule": 60.0},
    }
    listed = cli("schedules", "list").stdout
    assert "tidy: the code here has another args, plan.every_s" in listed
    assert "new: the code defines it, and no worker has started with this code" in listed
    app.conf.beat_schedule = {}
    assert "tidy: the code here has no such schedule" in cli("schedules", "list").stdout
    code()
    assert cli.json("schedules", "list") == {"schedules": [], "unrecorded": []}


def test_run_now_sends_one_task_and_moves_no_fire_time(cli: Any, ledger: Ledger):
    cli("schedules", "add", *NIGHTLY)
    before = cli.json("schedules", "show", "nightly")["next_fire_at"]
    said = cli("schedules", "run-now", "nightly", "--by", "ana").stdout
    ((task_id, state),) = ledger.states().items()
    assert (said, state) == (f"sent: {task_id}\n", "pending")
    shown = cli.json("schedules", "show", "nightly")
    assert shown["next_fire_at"] == before
    (fire,) = shown["fires"]
    assert (fire["state"], fire["cause"], fire["reason"]) == ("sent", "run now", "run now by ana")


def test_a_backfill_sends_what_was_not_sent_and_can_be_repeated(cli: Any, ledger: Ledger):
    cli("schedules", "add", *NIGHTLY)
    ledger.write("UPDATE mirepoix_schedule SET fired_until = '2040-01-01 00:00:00'")
    asked = ("schedules", "backfill", "nightly", "--from", "2026-01-01", "--to", "2026-01-05T12:00")
    assert "5 fire times from 2026-01-01" in cli(*asked, answer="n\n", code=2).stderr
    assert ledger.states() == {}
    assert cli(*asked, "--yes").stdout == "buffered: 4 fire times\nsent: 1 fire time\n"
    assert cli(*asked, "--yes").stdout == "left alone, because they were sent before: 5 fire times\n"
    assert len(ledger.states()) == 1
    ledger.write("UPDATE mirepoix_fire SET state = 'missed' WHERE state = 'buffered'")
    assert "sent: 4 fire times" in cli(*asked, "--yes", "--overlap", "allow").stdout
    assert len(ledger.states()) == 5
    headers = [row[0] for row in ledger.query("SELECT headers FROM mirepoix_task ORDER BY seq")]
    assert '"mirepoix_fire_at": "2026-01-01T02:00:00+00:00"' in str(headers[0]).replace("'", '"')


def test_without_an_app_schedules_are_read_and_paused_and_nothing_is_sent(cli: Any, cli_of: Any, ledger_url: str):
    cli("schedules", "add", *NIGHTLY)
    bare = cli_of(None)
    assert bare.json("schedules", "list")["schedules"][0]["name"] == "nightly"
    bare("schedules", "pause", "nightly")
    bare("schedules", "resume", "nightly")
    assert "This needs the app" in bare("schedules", "run-now", "nightly", code=2).stderr


def test_resuming_skips_what_came_while_it_was_paused(cli: Any, ledger: Ledger):
    cli("schedules", "add", "often", "shop.report", "--every", "10s")
    cli("schedules", "pause", "often")
    past = datetime.now(UTC) - timedelta(minutes=5)
    ledger.write(
        "UPDATE mirepoix_schedule SET "
        + ", ".join(f"{column} = '{past:%Y-%m-%d %H:%M:%S}.000'" for column in ("created_at", "fired_until"))
        + f", next_fire_at = '{past:%Y-%m-%d %H:%M:%S}.000', next_due_at = '{past:%Y-%m-%d %H:%M:%S}.000'"
    )
    cli("schedules", "resume", "often")
    fires = cli.json("schedules", "show", "often", "--fires", "100")["fires"]
    assert len(fires) >= 29
    assert {fire["state"] for fire in fires} == {"skipped"}
    assert ledger.states() == {}
