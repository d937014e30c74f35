"""What people do on the dashboard, from the preview to the ledger: one task, all of a filter, a cause, a replay."""

from __future__ import annotations

import html
import json
import re
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from a2wsgi import ASGIMiddleware
from people import USERS
from scenery import SECRET, body
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from mirepoix.celery import scheduling
from mirepoix.dashboard import Role, User, asgi
from mirepoix.dashboard.pages import act
from pace import until
from recording import ran_one_after_another

KEY = re.compile(r'action="(/act/[^"]+)"')


@pytest.fixture
def ledger_url(sqlite_url):
    """What is tested here goes through the operations of the command line, which are tested on every database."""
    return sqlite_url


def decide(browser, reason="", **form):
    """Ask for a preview and confirm it; the page of the job."""
    page = browser.post("/act", **form)
    return browser.post(KEY.search(page)[1], reason=reason)


def test_one_task_is_retried_and_the_user_is_recorded(visit, scenery):
    page = decide(visit("ana"), "the bank is back", verb="retry", id="failed-1")
    assert "requeued: 1 task" in page
    assert scenery.ledger.state("failed-1") == "pending"
    ((verb, by, reason),) = scenery.ledger.query(
        "SELECT verb, decided_by, reason FROM mirepoix_decision WHERE task_id = 'failed-1'"
    )
    assert (verb, by, reason) == ("retry", "ana", "the bank is back")
    assert "the bank is back" in visit("vera").get("/audit")


def test_a_filter_is_previewed_exactly_and_only_those_tasks_are_decided_about(visit, scenery):
    browser = visit("ana")
    page = browser.post("/act", verb="cancel", queue="payments", name="shop.search.*")
    assert "Cancel 8 tasks?" in page
    assert "8 <span" in page
    scenery.ledger.send("wait-late", name="shop.search.index", queue="payments")
    assert "cancelled: 8 tasks" in browser.post(KEY.search(page)[1])
    assert scenery.ledger.state("wait-late") == "pending"
    assert scenery.ledger.state("wait-3") == "cancelled"


def test_tasks_that_changed_since_the_preview_are_refused_with_the_reason(visit, scenery):
    browser = visit("ana")
    page = browser.post("/act", verb="cancel", name="shop.search.*")
    scenery.ledger.cancel("wait-1")
    said = browser.post(KEY.search(page)[1])
    assert "cancelled: 7 tasks" in said
    assert "not cancelled: 1 task: it is cancelled already" in said


def test_a_task_that_failed_again_since_the_preview_is_left_alone(visit, scenery):
    browser = visit("ana")
    page = browser.post("/act", verb="discard", id="failed-1")
    scenery.ledger.requeue("failed-1")
    for taken in scenery.ledger.take("w1", queues=("payments",)):
        if taken.lease.task_id == "failed-1":
            scenery.ledger.start(taken.lease)
            scenery.ledger.fail(taken.lease)
    assert scenery.ledger.state("failed-1") == "failed"
    said = browser.post(KEY.search(page)[1])
    assert "not discarded: 1 task: it has changed since you looked" in said
    assert scenery.ledger.state("failed-1") == "failed"


def test_a_decision_has_a_cap_that_follows_the_role(visit, scenery, monkeypatch):
    monkeypatch.setattr(act, "CAP", 5)
    form = {"verb": "cancel", "name": "shop.search.*"}
    page = visit("ana").post("/act", **form)
    assert "Cancel 5 tasks?" in page
    assert "More tasks match." in page
    assert "Cancel 8 tasks?" in visit("root").post("/act", **form)


@pytest.mark.parametrize("form", [{}, {"name": ""}, {"verb": "retry"}, {"verb": "drop", "name": "*"}])
def test_a_decision_needs_a_verb_and_a_filter(visit, scenery, form):
    visit("root").post("/act", 400, **form)


def test_a_verb_without_a_state_means_the_states_of_that_verb(visit, scenery):
    page = visit("ana").post("/act", verb="discard", name="shop.payments.*")
    assert "Discard 2 tasks?" in page  # failed-3 was requeued


def test_a_running_task_is_not_ended_by_a_filter(visit, scenery):
    page = decide(visit("root"), verb="cancel", state="running")
    assert "not cancelled: 2 tasks" in page
    assert scenery.ledger.state("running-1") == "running"


def test_a_cause_is_resolved_ignored_and_reopened(visit, scenery):
    browser = visit("ana")
    cause = scenery.ledger.row("failed-1")["failure_group"]
    page = browser.post(f"/failures/{cause}/decide", verb="resolve", release="2026.12.1", note="fixed in #12")
    assert "resolved" in page
    assert "fixed in #12" in page
    assert cause not in browser.get("/failures")
    browser.post(f"/failures/{cause}/decide", verb="reopen")
    assert cause in browser.get("/failures")
    browser.post(f"/failures/{cause}/decide", verb="ignore", **{"for": "7d", "count": "100"})
    assert cause not in browser.get("/failures")
    assert cause in browser.get("/failures?show=all")
    for wrong in ({"verb": "ignore", "for": "soon"}, {"verb": "ignore", "count": "-1"}, {"verb": "drop"}):
        browser.post(f"/failures/{cause}/decide", 400, **wrong)


def test_a_cause_is_replayed_and_taken_back(visit, scenery):
    browser = visit("ana")
    cause = scenery.ledger.row("failed-1")["failure_group"]
    page = browser.post(f"/failures/{cause}/replay", canaries="0", rate="1000", reason="the bank is back")
    job = re.search(r'hx-get="(/jobs/[^?]+)', page)
    if job is not None:
        until(lambda: "It is over." in browser.get(job[1]), "the job ends")
        page = browser.get(job[1])
    assert "replayed: done" in page
    assert scenery.ledger.state("failed-1") == "pending"
    ((replay, by),) = scenery.ledger.query("SELECT id, began_by FROM mirepoix_replay")
    assert by == "ana"
    assert "taken back:" in browser.post(f"/replays/{replay}/undo", group=cause)
    until(lambda: scenery.ledger.state("failed-1") == "failed", "the replay is taken back")


def test_canaries_run_before_the_others_and_a_replay_can_be_stopped(visit, scenery):
    browser = visit("ana")
    cause = scenery.ledger.row("failed-1")["failure_group"]
    page = browser.post(f"/failures/{cause}/replay", canaries="1", rate="1000")
    job = re.search(r'hx-get="(/jobs/[^?]+)', page)[1]
    states = [scenery.ledger.state(task) for task in ("failed-1", "failed-2", "evil-1")]
    assert sorted(states) == ["failed", "failed", "pending"]
    browser.post(f"{job}/stop")
    until(lambda: "It is over." in browser.get(job), "the job ends")
    assert "interrupted" in browser.get(job)


def test_a_replay_has_the_cap_of_the_role(visit, scenery, monkeypatch):
    monkeypatch.setattr(act, "CAP", 1)
    cause = scenery.ledger.row("failed-1")["failure_group"]
    assert "Run 1 task again" in visit("ana").get(f"/failures/{cause}")
    assert "Run 3 tasks again" in visit("root").get(f"/failures/{cause}")
    visit("ana").post(f"/failures/{cause}/replay", 400, canaries="0", limit="2")
    page = visit("ana").post(f"/failures/{cause}/replay", canaries="0", rate="1000")
    job = re.search(r'hx-get="(/jobs/[^?]+)', page)
    if job is not None:
        until(lambda: "It is over." in visit("ana").get(job[1]), "the job ends")
        page = visit("ana").get(job[1])
    assert "left for another replay: 2 tasks" in page
    assert sorted(scenery.ledger.state(id) for id in ("failed-1", "failed-2", "evil-1")) == [
        "failed",
        "failed",
        "pending",
    ]


def test_the_tasks_of_a_cause_are_discarded_from_its_page(visit, scenery):
    browser = visit("ana")
    cause = scenery.ledger.row("quarantined-1")["failure_group"]
    assert "Discard 1 task …" in browser.get(f"/failures/{cause}")
    form = {"group": cause, "state": "failed,quarantined", "back": f"/failures/{cause}"}
    assert "discarded: 1 task" in decide(browser, verb="discard", **form)
    assert scenery.ledger.state("quarantined-1") == "cancelled"
    assert "Discard 1 task" not in browser.get(f"/failures/{cause}")
    assert "Decide about the tasks" not in visit("vera").get(
        "/failures/" + scenery.ledger.row("failed-1")["failure_group"]
    )


@pytest.mark.parametrize("form", [{"canaries": "x"}, {"rate": "0"}, {"rate": "1e9"}, {"limit": "-1"}])
def test_a_replay_refuses_numbers_that_make_no_sense(visit, scenery, form):
    cause = scenery.ledger.row("failed-1")["failure_group"]
    visit("ana").post(f"/failures/{cause}/replay", 400, **form)


def test_pages_follow_each_other_without_gaps(visit, scenery):
    scenery.ledger.send(*(f"many-{n:03}" for n in range(120)), name="shop.many", body=body())
    browser, seen, path = visit("vera"), [], "/tasks?name=shop.many"
    while path:
        page = browser.get(path)
        seen += re.findall(r'<code class="id">(many-\d+)</code>', page)
        following = re.search(r'rel="next" href="([^"]+)"', page)
        path = following[1].replace("&amp;", "&") if following else None
    assert sorted(seen) == [f"many-{n:03}" for n in range(120)]


def test_the_live_part_changes_only_if_something_changed(visit, scenery):
    browser = visit("vera")
    page = browser.get("/tasks?state=failed")
    address = re.search(r'hx-get="([^"]+)"', page)[1].replace("&amp;", "&")
    assert browser.client.get(address).status_code == 204
    scenery.ledger.requeue("failed-1")
    part = browser.get(address)
    assert part.startswith('<div id="live"')
    assert "failed-1" not in part
    assert "<html" not in part


@pytest.mark.parametrize(
    ("typed", "to"),
    [
        ("quarantined", "/tasks/quarantined-1"),
        ("wait-3", "/tasks/wait-3"),
        ("order=1042", "/tasks?arg=order%3D1042"),
        ("receipt", "/tasks?name=%2Areceipt%2A"),
        ("", "/tasks"),
    ],
)
def test_the_search_box_finds_ids_names_and_arguments(visit, scenery, typed, to):
    answer = visit("ana").client.get("/search", params={"q": typed}, follow_redirects=False)
    assert answer.headers["location"] == to


def test_it_works_below_a_prefix_whether_or_not_the_proxy_removes_it(visit, celery_app, scenery):
    app = asgi(celery_app, users=USERS, secret="x", prefix="/jobs")
    browser = visit(None, app)
    for path in ("/login", "/jobs/login"):
        answer = browser.client.get(path)
        assert 'action="/jobs/login"' in answer.text
        assert "Path=/jobs;" in answer.headers.get("set-cookie", "Path=/jobs;")
    assert browser.client.get("/jobs/", follow_redirects=False).headers["location"] == "/jobs/login?next=/"
    assert browser.client.get("/jobs/static/site.css").status_code == 200


def test_it_can_be_mounted(celery_app, scenery):
    inner = asgi(celery_app, authorize=lambda request: User("ana", frozenset({Role.ACT})))
    client = TestClient(Starlette(routes=[Mount("/ops/tasks", app=inner)]))
    page = client.get("/ops/tasks/").text
    assert 'href="/ops/tasks/queues"' in page
    assert "no consumer for queue" in page
    assert client.get("/ops/tasks/static/site.js").status_code == 200
    assert "It failed" in client.get("/ops/tasks/tasks/failed-1").text


def test_it_can_be_mounted_into_a_wsgi_program(celery_app, scenery):
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    environ |= {"SCRIPT_NAME": "/ops", "PATH_INFO": "/queues"}
    statuses: list[str] = []
    inner = asgi(celery_app, authorize=lambda request: User("ana", frozenset({Role.VIEW})))
    bridge = ASGIMiddleware(inner)
    page = b"".join(bridge(environ, lambda status, headers, *_: statuses.append(status))).decode()
    assert statuses == ["200 OK"]
    assert 'href="/ops/queues"' in page


def test_a_ledger_that_fails_is_a_page_that_says_so_and_not_how(visit, scenery):
    browser = visit("ana")
    scenery.ledger.write("DROP TABLE mirepoix_decision")
    page = browser.get("/audit", 503)
    assert "gave no answer" in page
    assert "mirepoix_decision" not in page
    assert "Traceback" not in page


def test_a_mistake_of_ours_is_a_page_without_details(visit, scenery, caplog):
    browser = visit("ana")
    scenery.ledger.write("UPDATE mirepoix_task SET headers = '{' WHERE id = 'failed-1'")
    page = browser.get("/tasks/failed-1", 500)
    assert "The dashboard made a mistake." in page
    assert "JSON" not in page
    assert "a page of the dashboard failed: /tasks/failed-1" in caplog.text


def test_a_stack_is_shown_to_who_may_see_arguments_and_only_of_a_running_task(visit, scenery):
    visit("vera").post("/stack", 403, id="running-1")
    assert "Show its stack" not in visit("vera").get("/tasks/running-1")
    assert "Show its stack" in visit("arno").get("/tasks/running-1")
    assert "No stack: the task does not run: it is pending." in visit("arno").post("/stack", id="wait-1")
    visit("arno").post("/stack", 404, id="no-such-task")
    assert scenery.ledger.query("SELECT * FROM mirepoix_decision WHERE verb = 'stack'") == []


FORM = re.compile(r'name="task_id" value="([^"]+)"')
CALL = {"details": {"amount": 1}, "card": "1", "password": "p", "note": "n"}


def test_a_task_is_sent_from_a_page_once_and_who_sent_it_is_recorded(visit, scenery):
    browser = visit("root")
    page = browser.get("/send?like=failed-1")
    assert "shop.payments.charge" in page
    assert "Hidden values are not copied" in page
    assert SECRET not in page
    form = {"task_id": FORM.search(page)[1], "name": "shop.payments.charge", "reason": "the bank asked"}
    form |= {"args": '["order-9"]', "kwargs": json.dumps(CALL), "queue": "payments"}
    for _ in range(2):
        assert "send by root" in browser.post("/send", **form)
    ((id, queue, body_),) = scenery.ledger.query(
        "SELECT id, queue, body FROM mirepoix_task WHERE id = :id", id=form["task_id"]
    )
    assert (queue, json.loads(body_)[:2]) == ("payments", [["order-9"], CALL])
    acts = scenery.ledger.query("SELECT verb, decided_by, reason FROM mirepoix_decision WHERE task_id = :id", id=id)
    assert acts == [("send", "root", "the bank asked")]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"args": '["order-9"]'}, "cannot take this call: the arguments do not fit"),
        ({"name": "shop.payments.refund"}, "has no task named"),
        ({"name": "mirepoix.fail_chord"}, "has no task named"),
        ({"args": "order-9"}, "are not JSON"),
        ({"args": "{}"}, "must be a JSON array"),
        ({"kwargs": '{"card": "[hidden]"}'}, "still have [hidden]"),
        ({"task_id": "failed-1"}, "Open it again"),
    ],
)
def test_a_call_that_does_not_fit_is_refused_and_nothing_is_sent(visit, scenery, given, said):
    browser = visit("root")
    before = scenery.ledger.counts()
    form = {"task_id": FORM.search(browser.get("/send"))[1], "name": "shop.payments.charge", "kwargs": "{}"}
    page = browser.post("/send", 400, **form | given)
    assert said in html.unescape(page)
    assert "Nothing was sent." in page
    assert scenery.ledger.counts() == before


def test_only_administrators_send(visit, scenery):
    visit("ana").get("/send", 403)
    visit("ana").post("/send", 403, name="shop.payments.charge")
    assert "Send a copy" not in visit("ana").get("/tasks/failed-1")


def test_a_queue_is_paused_and_resumed_and_everybody_sees_by_whom(visit, scenery):
    browser = visit("ana")
    assert 'value="pause">Pause' in browser.get("/queues")
    page = browser.post("/steer", verb="pause", kind="queue", value="payments", note="the bank is down")
    assert "is paused, by ana since" in page
    assert "the bank is down" in visit("vera").get("/")
    assert 'action="/steer"' not in visit("vera").get("/queues")
    assert "is resumed" in browser.post("/steer", verb="resume", kind="queue", value="payments")
    assert "queue payments" in visit("vera").get("/audit")
    assert scenery.ledger.query("SELECT verb, decided_by FROM mirepoix_steering WHERE kind = 'queue' ORDER BY id") == [
        ("pause", "ana"),
        ("resume", "ana"),
    ]


def test_a_tasks_name_is_paused_on_its_page(visit, scenery):
    browser = visit("ana")
    name = scenery.ledger.row("failed-1")["name"]
    page = browser.post("/steer", verb="pause", kind="task", value=name, back="/tasks/failed-1")
    assert 'value="resume">Resume' in page
    browser.post("/steer", verb="resume", kind="task", value=name)
    assert scenery.ledger.query("SELECT kind FROM mirepoix_hold") == []


def test_a_schedule_is_found_with_what_became_of_its_fire_times(visit, scenery):
    browser = visit("ana")
    listed = browser.get("/schedules")
    row = listed.partition(">nightly<")[2].partition("</tr>")[0]
    assert "<code>0 3 * * *</code>" in row
    assert "03:00:00 CE" in row  # CET or CEST
    assert '<span class="state state-ran">ran</span>' in row
    page = browser.get("/schedules/nightly")
    for words in ("no worker ran", "the run before had not ended", "OSError: disk 7 is full", "schedules edit nightly"):
        assert words in page, words
    assert page.index("state-ran") < page.index("state-failed") < page.index("state-missed")
    assert 'href="/tasks/failed-1"' in page
    browser.get("/schedules/none", 404)
    overview = browser.get("/")
    assert 'paused</span> <a href="/schedules/tidy">' in overview
    assert "3 schedules. The next is" in overview


def test_where_the_code_and_the_ledger_differ_is_shown(visit, scenery, celery_app):
    celery_app.conf.beat_schedule = {"hourly": {"task": "shop.mail.send", "schedule": 3600.0}}
    scheduling.record_own(celery_app.mirepoix, "worker w1")
    celery_app.conf.beat_schedule = {
        "hourly": {"task": "shop.mail.send", "schedule": 1800.0},
        "new": {"task": "shop.mail.send", "schedule": 60.0},
    }
    browser = visit("vera")
    page = browser.get("/schedules")
    assert "the code here has another plan.every_s" in page
    assert "new: the code defines it, and no worker has started with this code" in page
    assert "the code here has another plan.every_s" in browser.get("/schedules/hourly")
    celery_app.conf.beat_schedule = {"hourly": {"task": "shop.mail.send", "schedule": "never"}}
    assert "cannot be read here" in browser.get("/schedules")


def test_a_schedule_is_paused_resumed_and_run_by_whom_and_why(visit, scenery):
    browser = visit("ana")
    before = scenery.ledger.states()
    page = browser.post("/schedules", verb="pause", name="nightly", reason="the bank moves")
    assert "Paused by ana" in page
    assert "the bank moves" in page
    assert 'value="resume">Resume' in page
    assert 'value="pause">Pause' in browser.post("/schedules", verb="resume", name="nightly")
    assert scenery.ledger.states() == before
    page = browser.post("/schedules", verb="run now", name="nightly", reason="for the audit")
    assert "run now by ana: for the audit" in page
    id = re.search(r'href="/tasks/([0-9a-f-]{36})"', page)[1]
    assert (scenery.ledger.state(id), scenery.ledger.row(id)["queue"]) == ("pending", "reports")
    assert 'href="/schedules/nightly"' in browser.get(f"/tasks/{id}")
    assert 'href="/schedules/nightly"' in visit("vera").get("/audit")
    acts = scenery.ledger.query(
        "SELECT verb, decided_by, reason FROM mirepoix_steering WHERE value = 'nightly' ORDER BY id"
    )
    assert acts == [("pause", "ana", "the bank moves"), ("resume", "ana", ""), ("run now", "ana", "for the audit")]
    assert 'action="/schedules"' not in visit("vera").get("/schedules/nightly")
    browser.post("/schedules", 404, verb="pause", name="none")
    browser.post("/schedules", 400, verb="drop", name="nightly")


def test_a_form_that_is_sent_twice_runs_a_schedule_once(visit, scenery):
    """By a double click, or by going back."""
    browser = visit("ana")
    once = re.search(r'name="once" value="([^"]+)"', browser.get("/schedules/nightly"))[1]
    for _ in range(2):
        page = browser.post("/schedules", verb="run now", name="nightly", once=once)
        assert page.count("run now by ana") == 1
    again = re.search(r'name="once" value="([^"]+)"', page)[1]
    assert browser.post("/schedules", verb="run now", name="nightly", once=again).count("run now by ana") == 2
    assert visit("root").post("/schedules", verb="run now", name="nightly", once=again).count("run now by ") == 3


def test_a_dashboard_without_an_app_runs_no_schedule_and_says_why(visit, scenery, celery_app):
    browser = visit("ana", asgi(celery_app, users=USERS, secret="x", has_app=False))
    page = browser.get("/schedules/nightly")
    assert 'value="run now"' not in page
    assert "because the app makes the message" in page
    browser.post("/schedules", 400, verb="run now", name="nightly")
    assert "Paused by ana" in browser.post("/schedules", verb="pause", name="nightly")
    assert 'value="pause">Pause' in browser.post("/schedules", verb="resume", name="nightly")


def test_a_schedule_that_this_code_cannot_read_is_listed_all_the_same(visit, scenery):
    scenery.ledger.write(
        "UPDATE mirepoix_schedule SET definition = replace(definition, '\"every_s\"', '\"by_moon\"') WHERE id = 'tidy'"
    )
    browser = visit("vera")
    browser.get("/")
    assert "this code cannot read it" in browser.get("/schedules")
    assert "cannot read the schedule" in browser.get("/schedules/tidy", 400)


def test_a_study_says_what_each_change_would_do(visit, ledger):
    ran_one_after_another(ledger, 300)
    browser = visit("ana")
    assert "Nothing was studied yet" in browser.get("/tuning")
    browser.get("/tuning/plot.svg", 404)
    page = browser.post("/tuning", since="24h")
    if "/jobs/" in page:  # it takes longer than a request waits
        page = until(lambda: "Studied by ana" in (page := browser.get("/tuning")) and page, "it is studied")
    assert "Studied by ana" in page
    assert "Queue celery" in page
    assert "simulated as it is" in page
    plot = browser.client.get("/tuning/plot.svg")
    assert plot.headers["content-type"].startswith("image/svg+xml")
    assert "Waiting time in queue celery" in plot.text
    browser.post("/tuning", 400, since="ever")
    vera = visit("vera").get("/tuning")
    assert "Studied by ana" in vera
    assert 'action="/tuning"' not in vera


def test_a_limit_is_set_and_reset_by_whom_and_why(visit, scenery):
    scenery.limits()
    browser = visit("ana")
    page = browser.get("/limits?limit=export")
    assert 'name="running" value="2"' in page
    assert 'name="rate" value="any"' in page
    page = browser.post("/limits", limit="export", verb="set", running="any", rate="5/10s", reason="the bank is slow")
    assert "5 in any 10s" in page
    assert 'name="rate" value="5/10s"' in page
    page = browser.post("/limits", limit="export", verb="reset")
    assert 'name="running" value="10"' in page
    assert 'value="reset"' not in page
    acts = scenery.ledger.query(
        "SELECT verb, decided_by, reason FROM mirepoix_steering WHERE kind = 'limit' ORDER BY id"
    )
    assert acts == [
        ("set", "ana", "2 at once -> 5 in any 10s: the bank is slow"),
        ("reset", "ana", "10 at once"),
    ]
    assert 'href="/limits?limit=export"' in visit("vera").get("/audit")
    assert 'href="/limits?limit=export"' in visit("vera").get("/tasks/acme-3")
    assert 'method="post" action="/limits"' not in visit("vera").get("/limits?limit=export")


def test_a_key_of_a_limit_is_paused_and_others_do_not_see_its_value(visit, scenery):
    scenery.limits()
    browser = visit("ana")
    assert 'name="value" value="export"' in browser.get("/limits?limit=export")
    page = browser.post("/steer", verb="pause", kind="limit", value="export:acme", back="/limits")
    assert 'value="resume">Resume' in page
    assert "limit &#39;export:acme&#39; is paused" in browser.get("/queues")
    for path in ("/", "/queues", "/audit", "/tasks/acme-3"):
        page = visit("vera").get(path)
        assert "export:KEY" in page
        assert "export:acme" not in page
    browser.post("/steer", verb="resume", kind="limit", value="export:acme")
    assert scenery.ledger.query("SELECT kind FROM mirepoix_hold") == []


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"running": "-1", "rate": "any"}, "a whole number, or any"),
        ({"running": "9" * 5_000, "rate": "any"}, "at most 2,147,483,647"),
        ({"running": "1", "rate": "often"}, "A rate is a text such as"),
        ({"running": "1", "rate": "9" * 5_000 + "/s"}, "A rate is a text such as"),
        ({"running": "1", "rate": "1/9999d"}, "at most a year"),
        ({"running": "1", "rate": "any", "verb": "drop"}, "can be set or reset"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused_and_nothing_changes(visit, scenery, form, said):
    scenery.limits()
    browser = visit("ana")
    assert said in browser.post("/limits", 400, **{"limit": "export", "verb": "set"} | form)
    assert "2 at once" in browser.get("/limits?limit=export")
    browser.post("/limits", 404, limit="none", verb="set", running="1", rate="any")
