"""Every page shows what the ledger has, on every database."""

from __future__ import annotations

import html
import re

from scenery import EVIL

from mirepoix.dashboard.pages import limits as pages_of_limits
from mirepoix.ledger.query import limits

PAGES = (
    *(
        "/",
        "/tasks",
        "/failures",
        "/failures?show=all",
        "/queues",
        "/workers",
        "/waiting",
        "/audit",
        "/account?count=1",
    ),
    *("/tasks/failed-1", "/tasks/done-1", "/tasks/quarantined-1", "/tasks/parked-1", "/tasks/running-1"),
    *("/chords", "/chords/flow-chord", "/alerts", "/tasks/flow", "/tasks/flow-3"),
    *("/schedules", "/schedules/nightly", "/schedules/tidy"),
    *("/tasks/leased-1", "/tasks/wait-1", "/tasks/elsewhere-2", "/tasks/later-1", "/tasks/evil-1", "/tasks/failed-3"),
    "/tasks?name=shop.*&state=failed,parked&since=1d",
)


def test_every_page_can_be_shown_on_every_database(visit, scenery):
    browser = visit("ana")
    scenery.limits()
    for path in (*PAGES, "/limits", "/limits?limit=export", "/limits?limit=export&key=ac", "/tasks/acme-3", "/tuning"):
        page = browser.get(path)
        assert "</html>" in page, path


def test_the_numbers_of_the_charts_are_json(visit, scenery):
    found = visit("vera").client.get("/queues/series.json").json()
    by_name = {queue["queue"]: queue for queue in found["queues"]}
    assert set(by_name) == {"celery", "reports", "mail"}
    assert round(sum(by_name["celery"]["ended"]) * found["span_s"] / 30 / 60) == 30


def test_the_overview_shows_what_fails_now_beside_the_releases(visit, scenery):
    page = visit("vera").get("/")
    assert "<strong>100 %</strong> of 2 attempts of" in page
    assert "shop.payments.charge" in page
    assert "<strong>2026.11.2</strong> first seen" in page
    assert "1 new cause" in page
    only = visit("vera").get("/failures?release=2026.11.2")
    assert "Declined" in only
    assert only.count("<tr data-row>") < visit("vera").get("/failures").count("<tr data-row>")
    assert "No cause needs a decision" in visit("vera").get("/failures?release=2026.11.3")


def test_a_workflow_is_drawn_from_its_root_with_the_chord_and_its_states(visit, scenery):
    page = visit("vera").get("/tasks/step-1").partition("<h2>Workflow</h2>")[2]
    assert page.index('href="/tasks/flow"') < page.index('href="/tasks/flow-0"') < page.index('href="/tasks/step-2"')
    assert '<strong aria-current="true">shop.mail.render</strong>' in page
    assert "waiting, 2 of 4 returned: 2 <span" in page
    assert "Workflow" not in visit("vera").get("/tasks/wait-1")


def test_a_stuck_chord_is_found_from_the_overview(visit, scenery):
    browser = visit("vera")
    assert "1 chord waits for members that are parked or quarantined" in browser.get("/")
    assert "1 parked member holds it up." in browser.get("/chords")
    page = browser.get("/chords/flow-chord")
    members = page.partition("It waits for")[2].partition("Have returned")
    assert ("flow-2" in members[0], "flow-3" in members[0], "flow-1" in members[2]) == (True, True, True)
    browser.get("/chords/none", 404)


def test_alerts_show_what_became_of_their_notifications(visit, scenery):
    scenery.ledger.write(
        "UPDATE mirepoix_alert_telling SET tries = 3, trouble = 'it said password=hunter2'"
        " WHERE alert_id = 'late_queue:reports'"
    )
    page = visit("ana").get("/alerts")
    opened, _, over = page.partition("<h2>Over</h2>")
    assert "hook: not delivered after 3 tries: it said password=[hidden]" in opened
    assert "a task is parked" in over
    assert "hunter2" not in visit("vera").get("/alerts")


def test_a_task_that_dies_and_succeeds_again_is_found_from_the_overview(visit, scenery):
    ledger = scenery.ledger
    ledger.send(*(f"dies-{n}" for n in range(5)), name="shop.grow", queue="payments")
    for taken in ledger.take("w1", queues=("payments",)):
        if taken.lease.task_id.startswith("dies-"):
            ledger.start(taken.lease)
            ledger.lose(taken.lease, delay_s=60)
    page = visit("vera").get("/")
    assert "100 % of the latest 5 attempts of shop.grow failed, 5 times because the process died" in page
    assert 'href="/tasks?name=shop.grow&amp;min_tries=2"' in page


def test_the_keys_at_their_limit_are_shown_first_with_what_waits(visit, scenery):
    scenery.limits()
    browser = visit("ana")
    page = browser.get("/limits")
    rows = [html.unescape(re.sub(r"<[^>]+>", " ", row)).split() for row in page.split("<tr data-row>")[1:]]
    limits, keys = rows[:2], rows[2:]
    assert [row[:4] for row in limits] == [["export", "2", "at", "once"], ["provider", "3", "in", "any"]]
    assert "the code says 10 at once" in page
    said = [" ".join(row) for row in keys]
    expected = (
        "export acme at limit 2 of 2 2",
        "provider all tasks together at limit 3 1 the next in 59m",
        f"export {EVIL} at limit 2 of 2 1",
        "gone x no limit 0 1",
        "export globex has room 1 of 2 0",
    )
    assert [row[: len(words)] for row, words in zip(said, expected, strict=True)] == list(expected)
    only = browser.get("/limits?limit=export&key=glo")
    assert "globex" in only
    assert "acme" not in only


def test_of_many_keys_the_first_are_shown_and_the_others_are_counted(visit, scenery, monkeypatch):
    monkeypatch.setattr(pages_of_limits, "KEYS", 2)
    scenery.limits()
    page = visit("ana").get("/limits")
    assert "3 more keys in use. Choose a limit to find them." in page
    assert "acme" in page
    monkeypatch.setattr(limits, "KEYS_MOST", 1)
    page = visit("ana").get("/limits")
    assert "More than 2 more keys in use." in page
