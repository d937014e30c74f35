"""The parts of the pages that need no ledger: what is hidden, tracebacks, cursors, ages."""

from __future__ import annotations

import itertools
import time
from datetime import UTC, datetime

import pytest
from scenery import TRACEBACK

from mirepoix.dashboard.pages.series import BUCKETS, series
from mirepoix.dashboard.render import age, moment, state_badge
from mirepoix.dashboard.tracebacks import own_frames
from mirepoix.ledger.query.pace import Ended, Pace
from mirepoix.ledger.query.pages import as_text, from_text
from mirepoix.operations.findings import Finding, Named, Severity
from mirepoix.operations.redact import HIDDEN, Redactor
from mirepoix.operations.slow import percentile
from mirepoix.operations.verdict import next_step, sentence, verdict
from mirepoix.states import State

REDACTOR = Redactor()
NAIVE = as_text({0: (datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None), 1)})


@pytest.mark.parametrize(
    "name", ["password", "PASSWORD", "db_passwd", "api_key", "X-Api-Key", "accessToken", "card", "iban_of_payer"]
)
def test_values_under_secret_names_are_hidden_at_any_depth(name):
    shown = REDACTOR.value({"a": [{"b": {name: "s3cret"}}], "n": 1})
    assert shown == {"a": [{"b": {name: HIDDEN}}], "n": 1}
    assert REDACTOR.value([["n", 1], [name, "s3cret"]]) == [["n", 1], [name, HIDDEN]]
    args, kwargs = REDACTOR.arguments(["s3cret", {"n": 2}], {name: {"deep": "s3cret"}, "order": 7}, [name, "other"])
    assert args == [HIDDEN, {"n": 2}]
    assert kwargs == {name: HIDDEN, "order": 7}


@pytest.mark.parametrize(
    "text",
    [
        "login failed: password=s3cret",
        "login failed: password='s3cret and more'",
        'refused {"api_key": "s3cret"}',
        "Authorization: Bearer s3cret",
        "?token=s3cret&x=1",
        "card_number : s3cret",
        "failed: {'user': 1, 'password': 's3cret'}",
        "error: a: b=c: secret=s3cret",
        "Card(card_number=4242 4242 s3cret, owner=ana)",
        "password=my s3cret phrase order=7",
        r"login(password='it\'s s3cret', n=1)",
        "password=('a', ('b', 's3cret'), [1])",
        "{'tokens': {'a': ['x', {'b': ('s3cret',)}]}, 'n': 1}",
        "headers=(('Accept', '*'), ('Authorization', 'Bearer s3cret'))",
        "password=(unclosed, 's3cret'",
        'secret=("(", "s3cret")',
    ],
)
def test_secret_values_in_messages_are_hidden(text):
    assert "s3cret" not in REDACTOR.text(text)
    assert REDACTOR.text("order=7 has no price") == "order=7 has no price"


def test_further_names_can_be_hidden_and_deep_objects_end():
    assert Redactor(("*salary*",)).value({"base_salary": 1, "password": 2}) == {"base_salary": HIDDEN, "password": 2}
    deep: object = "end"
    for _ in range(200):
        deep = [deep]
    assert HIDDEN in str(REDACTOR.value(deep))


def test_what_stands_behind_a_hidden_value_is_shown():
    shown = REDACTOR.text("login(password=('a', 'b'), order=7) failed; card=42 43, owner=ana\nnext line")
    assert shown == f"login(password={HIDDEN}, order=7) failed; card={HIDDEN}, owner=ana\nnext line"


def test_a_long_text_is_searched_for_secrets_in_linear_time():
    def took(text: str) -> float:
        began = time.process_time()
        REDACTOR.text(text)
        return time.process_time() - began

    for text in (
        "a" * 20_000,
        "a=" * 10_000,
        "password=" * 2_000,
        "password=(\n" * 2_000,
        "token=   " * 2_000,
        "'" * 20_000,
        '"a' * 10_000,
    ):
        assert took(text * 8) < 100 * took(text) + 1  # eight times as long; a quadratic search would take 64 times


def test_the_users_own_frames_come_first_and_those_of_libraries_not():
    frames = own_frames(TRACEBACK)
    assert [(frame.function, frame.line) for frame in frames] == [("send", 12), ("charge", 41)]
    assert frames[0].code == 'raise Declined(f"card {card} was declined")'
    assert own_frames("") == own_frames("nonsense\n" * 10) == []
    without_code = (
        'Traceback (most recent call last):\n  File "/srv/a.py", line 1, in f\n  File "/srv/b.py", line 2, in g\nE: x\n'
    )
    assert [(frame.function, frame.code) for frame in own_frames(without_code)] == [("g", ""), ("f", "")]


def test_a_cursor_is_read_as_it_was_written_and_nothing_else_is():
    cursor = {
        0: (datetime(2026, 3, 29, 2, 30, 0, 123_456, tzinfo=UTC), 7),
        6: (datetime(2026, 1, 1, tzinfo=UTC), 2**40),
    }
    assert from_text(as_text(cursor)) == cursor
    for wrong in (
        "x",
        "e30x",
        NAIVE,
        as_text({0: (datetime(2026, 1, 1, tzinfo=UTC), 2**70)}),
        "W10",
        "bnVsbA",
    ):
        with pytest.raises(ValueError, match="no page of the list"):
            from_text(wrong)


def test_times_have_their_zone_and_text_is_escaped():
    assert "2026-03-29 02:30:00Z" in moment(datetime(2026, 3, 29, 2, 30, tzinfo=UTC))
    assert 'data-age="90"' in age(90.0)
    assert age(None) == moment(None) == ""
    assert state_badge('"><script>') == '<span class="state state----script-">&#34;&gt;&lt;script&gt;</span>'


def test_each_finding_has_a_sentence_and_a_next_step():
    kinds = (
        Finding("lost", Severity.CRITICAL, 3, worker="w1", age_s=9.0),
        Finding("late", Severity.CRITICAL, 3, queue="mail", age_s=9.0, is_served=False),
        Finding("late", Severity.CRITICAL, 2, queue="mail", is_served=False),
        Finding("late", Severity.WARNING, 1, queue="mail", age_s=90.0),
        Finding("late", Severity.WARNING, 1, queue="mail", age_s=90.0, state=State.LEASED),
        Finding("stuck", Severity.WARNING, 2, age_s=9.0, state=State.PARKED),
        Finding("stuck", Severity.WARNING, 2, age_s=9.0, state=State.QUARANTINED),
        Finding("stuck", Severity.WARNING, 2, queue="mail"),
        Finding("failed", Severity.WARNING, 2, age_s=9.0, state=State.FAILED),
        Finding("dead", Severity.CRITICAL, 1),
        Finding("dead", Severity.WARNING, 2, worker="w1", age_s=9.0),
        Finding("dead", Severity.WARNING, 1, worker="w1", is_served=False),
        Named("schedule", Severity.WARNING, 4, name="report"),
        Named("schedule", Severity.WARNING, 0, age_s=90.0, name="report"),
        Named("slow", Severity.WARNING, 1, age_s=90.0, name="shop.pay"),
        Named("slow", Severity.WARNING, 3, age_s=90.0, name="shop.pay"),
    )
    words = [(sentence(finding, 60.0), next_step(finding)) for finding in kinds]
    assert len({said for said, _ in words}) == len(kinds)
    assert all(said and step for said, step in words)
    assert not any("oldest )" in said for said, _ in words)
    worst = verdict(kinds, 60.0)
    assert worst.sentence == "3 tasks held by w1, which is not alive (for 9s)."
    assert (worst.severity, worst.others, worst.since_s) == (Severity.CRITICAL, len(kinds) - 1, 9.0)
    assert verdict([], 60.0).severity is Severity.OK


def test_a_percentile_is_one_of_the_values():
    times = [float(n) for n in range(1, 101)]
    assert (percentile(times, 0.5), percentile(times, 0.95), percentile([3.0], 0.95)) == (51.0, 96.0, 3.0)
    assert all(a <= b for a, b in itertools.pairwise(percentile(times, share / 10) for share in range(11)))


def test_the_series_of_the_chart_count_each_task_once():
    ended = tuple(Ended(f"q{n % 7}", "shop.pay", 0.5 if n % 2 else None, float(n)) for n in range(70))
    found = series(Pace(60.0, ended), 1_000.0)
    queues = found["queues"]
    assert [one["queue"] for one in queues] == ["q0", "q1", "q2", "q3", "q4", "other queues"]
    width_min = 60.0 / BUCKETS / 60.0
    assert round(sum(sum(one["ended"]) for one in queues) * width_min) == 70
    assert found["at"][-1] == 1_000
    assert {time for one in queues for time in one["slowest_s"]} == {0.5, None}
    assert series(Pace(60.0, ()), 1_000.0)["queues"] == []
