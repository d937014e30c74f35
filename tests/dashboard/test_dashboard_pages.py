"""Every page shows what the ledger has, on every database."""

from __future__ import annotations

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
    *("/tasks/leased-1", "/tasks/wait-1", "/tasks/elsewhere-2", "/tasks/later-1", "/tasks/evil-1", "/tasks/failed-3"),
    "/tasks?name=shop.*&state=failed,parked&since=1d",
)


def test_every_page_can_be_shown_on_every_database(visit, scenery):
    browser = visit("ana")
    for path in PAGES:
        page = browser.get(path)
        assert "</html>" in page, path


def test_the_numbers_of_the_charts_are_json(visit, scenery):
    found = visit("vera").client.get("/queues/series.json").json()
    assert [queue["queue"] for queue in found["queues"]] == ["celery"]
    assert round(sum(found["queues"][0]["ended"]) * found["span_s"] / 30 / 60) == 30


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
