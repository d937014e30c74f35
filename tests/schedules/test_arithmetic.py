"""Fire times follow from the plan alone. An independent library (croniter, dateutil) finds the same ones."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice, pairwise, takewhile
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter
from dateutil import tz
from hypothesis import given, settings
from hypothesis import strategies as st

from mirepoix.errors import ConfigurationError
from mirepoix.schedules.calendar import fires, times_after
from mirepoix.schedules.plan import Plan

ANCHOR = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

TRANSITIONS = [
    ("Europe/Berlin", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2026, 10, 25, 1, tzinfo=UTC)),
    ("America/New_York", datetime(2027, 3, 14, 7, tzinfo=UTC)),
    ("America/New_York", datetime(2027, 11, 7, 6, tzinfo=UTC)),
    ("America/St_Johns", datetime(2028, 11, 5, 4, 30, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC)),  # half an hour back
    ("Australia/Lord_Howe", datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),
    ("America/Havana", datetime(2026, 3, 8, 5, tzinfo=UTC)),  # midnight does not exist
    ("Asia/Beirut", datetime(2026, 3, 28, 22, tzinfo=UTC)),
    ("Asia/Kathmandu", datetime(2026, 6, 1, tzinfo=UTC)),  # no transition
    ("UTC", datetime(2026, 6, 1, tzinfo=UTC)),
]


def field(least: int, most: int) -> st.SearchStrategy[str]:
    number = st.integers(least, most)
    # croniter takes 2-2 for *
    pair = st.tuples(number, number).filter(lambda both: both[0] < both[1]).map("{0[0]}-{0[1]}".format)
    listed = (
        st.lists(number, min_size=1, max_size=3, unique=True).map(sorted).map(lambda found: ",".join(map(str, found)))
    )
    step = st.integers(2, max(2, (most - least) // 2)).map(lambda step: f"*/{step}")
    return st.one_of(st.just("*"), number.map(str), pair, listed, step)


EXPRESSIONS = st.tuples(
    field(0, 59),
    st.one_of(field(0, 23), st.sampled_from(["0", "1", "2", "0-3", "1,2"])),
    st.sampled_from(["*", "*", "*", "1-15", "28,29,30"]),
    st.just("*"),
    st.sampled_from(["*", "*", "0", "1-5", "6,0"]),
).map(" ".join)


def expected(expression: str, name: str, after: datetime, until: datetime) -> list[datetime]:
    """croniter finds the times on the wall, and dateutil says which moments show them."""
    zone = tz.gettz(name)
    minute, hour, *_ = expression.split()
    begin = after.astimezone(zone).replace(tzinfo=None) - timedelta(hours=3)
    walls = list(
        takewhile(lambda wall: wall <= begin + (until - after) + timedelta(hours=6), walls_of(expression, begin))
    )
    if minute.startswith("*") or hour.startswith("*"):
        shown = set(walls)
        minutes = (after.replace(second=0) + MINUTE * number for number in range(1, (until - after) // MINUTE + 1))
        return [at for at in minutes if at.astimezone(zone).replace(tzinfo=None) in shown]
    moments = {first_moment(wall, zone) for wall in walls}
    return sorted(at for at in moments if after < at <= until)


def walls_of(expression: str, begin: datetime) -> Iterator[datetime]:
    found = croniter(expression, begin)
    while True:
        yield found.get_next(datetime)


def first_moment(wall: datetime, zone: tzinfo | None) -> datetime:
    while not tz.datetime_exists(wall.replace(tzinfo=zone)):
        wall += MINUTE
    return tz.enfold(wall.replace(tzinfo=zone), fold=0).astimezone(UTC)


@settings(max_examples=300)
@given(EXPRESSIONS, st.sampled_from(TRANSITIONS), st.integers(-400, 200), st.integers(60, 600))
def test_every_minute_of_a_cron_expression_is_found_by_an_independent_library(
    expression: str, transition: tuple[str, datetime], begins: int, lasts: int
):
    name, moment = transition
    after = moment + timedelta(minutes=begins)
    until = after + timedelta(minutes=lasts)
    found = list(takewhile(lambda at: at <= until, times_after(Plan(cron=expression, timezone=name), ANCHOR, after)))
    assert found == expected(expression, name, after, until)


@settings(max_examples=300)
@given(EXPRESSIONS, st.sampled_from(TRANSITIONS), st.integers(-1500, 600), st.data())
def test_from_wherever_it_begins_it_finds_the_same_times(
    expression: str, transition: tuple[str, datetime], begins: int, data: st.DataObject
):
    """A worker that looks at 02:30 and one that looked at 02:00 must not disagree about 03:00."""
    name, moment = transition
    plan = Plan(cron=expression, timezone=name, jitter_s=90)
    all_fires = list(islice(fires(plan, "s", ANCHOR, moment + timedelta(minutes=begins)), 12))
    assert all(one.at < two.at and one.due <= two.due for one, two in pairwise(all_fires))
    place = data.draw(st.integers(0, len(all_fires) - 2))
    later = all_fires[place].at + timedelta(milliseconds=data.draw(st.integers(0, 59_000)))
    remaining = [fire for fire in all_fires if fire.at > later]
    assert list(islice(fires(plan, "s", ANCHOR, later), len(remaining))) == remaining


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("30 2 * * *", ["03-28 01:30", "03-29 01:00", "03-30 00:30"]),  # 02:30 does not exist: at 03:00
        ("0 30 2 * * *", ["03-28 01:30", "03-29 01:00", "03-30 00:30"]),  # six fields are no exception
        ("0,30 2 * * *", ["03-28 01:00", "03-28 01:30", "03-29 01:00", "03-30 00:00", "03-30 00:30"]),
        ("30 * 29 3 *", ["03-28 23:30", "03-29 00:30", "03-29 01:30"]),  # a rhythm goes on
    ],
)
def test_a_time_that_does_not_exist_fires_after_the_gap(expression: str, found: list[str]):
    plan = Plan(cron=expression, timezone="Europe/Berlin")
    times = islice(times_after(plan, ANCHOR, datetime(2026, 3, 28, tzinfo=UTC)), len(found))
    assert [f"{at:%m-%d %H:%M}" for at in times] == found


def test_a_day_that_does_not_exist_fires_after_it():
    plan = Plan(cron="0 12 29-31 12 *", timezone="Pacific/Apia")  # it crossed the date line: there was no 30th
    times = islice(times_after(plan, ANCHOR, datetime(2011, 12, 29, tzinfo=UTC)), 3)
    assert [f"{at:%m-%d %H:%M}" for at in times] == ["12-29 22:00", "12-30 10:00", "12-30 22:00"]


def test_a_summer_time_that_is_a_winter_time_is_handled_alike():
    """In Morocco the clocks go back for Ramadan, which the database of time zones has as a negative summer time."""
    plan = Plan(cron="30 2 * * *", timezone="Africa/Casablanca")
    times = islice(times_after(plan, ANCHOR, datetime(2026, 2, 14, tzinfo=UTC)), 3)
    assert [f"{at:%m-%d %H:%M}" for at in times] == ["02-14 01:30", "02-15 01:30", "02-16 02:30"]


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("30 2 * * *", ["10-24 00:30", "10-25 00:30", "10-26 01:30"]),  # 02:30 exists twice: the first
        ("*/30 2 25 10 *", ["10-25 00:00", "10-25 00:30", "10-25 01:00", "10-25 01:30"]),  # a rhythm: both
    ],
)
def test_a_time_that_exists_twice_fires_the_first_time(expression: str, found: list[str]):
    plan = Plan(cron=expression, timezone="Europe/Berlin")
    times = islice(times_after(plan, ANCHOR, datetime(2026, 10, 24, tzinfo=UTC)), len(found))
    assert [f"{at:%m-%d %H:%M}" for at in times] == found


@given(
    st.integers(100, 100_000_000),
    st.integers(0, 15 * 365 * 86_400),
    st.integers(-(10**9), 10**10),
)
def test_an_interval_has_one_time_in_each_step_from_its_anchor(every_ms: int, anchor_s: int, later_ms: int):
    begin = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=anchor_s)
    after = begin + timedelta(milliseconds=later_ms)
    first, second = islice(times_after(Plan(every_s=every_ms / 1000), begin, after), 2)
    assert first > after
    assert first >= begin
    assert second - first == timedelta(milliseconds=every_ms)
    assert (first - begin) % timedelta(milliseconds=every_ms) == timedelta()
    if after >= begin:
        assert first - after <= timedelta(milliseconds=every_ms)


def test_an_aligned_interval_counts_from_the_epoch_and_one_with_a_start_from_there():
    after = datetime(2026, 5, 5, 10, 7, tzinfo=UTC)
    (aligned,) = islice(times_after(Plan(every_s=900, aligned=True), after, after), 1)
    assert aligned == datetime(2026, 5, 5, 10, 15, tzinfo=UTC)
    started = times_after(Plan(every_s=900, start="2026-05-06T00:02", timezone="Asia/Tokyo"), after, after)
    assert next(started) == datetime(2026, 5, 5, 15, 2, tzinfo=UTC)


def test_nothing_is_before_the_start_or_after_the_end():
    plan = Plan(cron="0 12 * * *", start="2026-05-02T12:00+00:00", end="2026-05-04T12:00+00:00")
    assert [at.day for at in times_after(plan, ANCHOR, ANCHOR)] == [2, 3, 4]


def test_a_single_moment_fires_once():
    plan = Plan(at="2026-12-24T18:00", timezone="Europe/Berlin")
    moment = datetime(2026, 12, 24, 17, tzinfo=UTC)
    assert list(times_after(plan, ANCHOR, ANCHOR)) == [moment]
    assert list(times_after(plan, ANCHOR, moment)) == []


@given(st.integers(0, 10**9), st.floats(0.001, 1e6))
def test_jitter_is_the_same_for_everybody_and_never_reaches_the_next_fire_time(seed: int, jitter_s: float):
    plan = Plan(every_s=60, aligned=True, jitter_s=jitter_s)
    one, two = islice(fires(plan, str(seed), ANCHOR, ANCHOR), 2)
    assert one.at <= one.due <= min(two.at, one.at + timedelta(seconds=jitter_s))
    assert next(fires(plan, str(seed), ANCHOR, ANCHOR)) == one


def test_jitter_spreads_over_its_range():
    plan = Plan(cron="0 3 * * *", jitter_s=600)
    delays = sorted((fire.due - fire.at).total_seconds() for fire in islice(fires(plan, "s", ANCHOR, ANCHOR), 200))
    assert delays[0] < 60
    assert delays[-1] > 540
    assert 200 < delays[100] < 400


@pytest.mark.parametrize(
    ("rule", "excluded"),
    [
        ("2026-12-25", ["12-25"]),
        ("12-24", ["12-24"]),
        ("2026-12-24/2026-12-26", ["12-24", "12-25", "12-26"]),
        ("2026-12-24T13:00/2026-12-26T12:00", ["12-25"]),
    ],
)
def test_an_exclusion_is_a_day_or_a_window_in_the_time_zone(rule: str, excluded: list[str]):
    plan = Plan(cron="0 12 * * *", timezone="Pacific/Auckland", exclude=(rule,))
    local = [datetime(2026, 12, day, 12, tzinfo=ZoneInfo("Pacific/Auckland")) for day in range(23, 28)]
    assert [f"{at:%m-%d}" for at in local if plan.excluded(at.astimezone(UTC))] == excluded


@pytest.mark.parametrize("place", [(52.5, 13.4), (-33.9, 151.2), (69.6, 18.9)], ids=["Berlin", "Sydney", "Tromsø"])
@pytest.mark.parametrize("event", ["dawn_civil", "sunrise", "solar_noon", "sunset", "dusk_astronomical"])
def test_an_event_of_the_sun_is_where_celery_finds_it(event: str, place: tuple[float, float]):
    from celery.schedules import solar

    plan = Plan(solar=(event, *place))
    after = datetime(2026, 5, 1, 12, tzinfo=UTC)
    found = list(islice(times_after(plan, ANCHOR, after), 40))
    earlier = islice(times_after(plan, ANCHOR, after - timedelta(hours=7)), 41)
    assert [at for at in earlier if at > after][:40] == found
    celery = solar(event, *place)
    for before, at in pairwise(found):
        celery.nowfun = lambda before=before: before
        moment = (
            before + timedelta(hours=1) + celery.remaining_estimate(before + timedelta(hours=1)) - timedelta(hours=1)
        )
        if (at - before).days <= 1:
            assert abs(moment - at) < timedelta(seconds=2)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "exactly one of"),
        ({"cron": "* * * * *", "every_s": 1}, "exactly one of"),
        ({"cron": "61 * * * *"}, "'61 \\* \\* \\* \\*' is no cron expression: Bad minute"),
        ({"cron": "0 0 * *"}, "Wrong number of fields"),
        ({"cron": "0 0 30 2 *"}, "Bad day-of-month"),
        ({"cron": "0 0 1-7 * MON#5", "weekdays": None}, None),
        ({"every_s": 0}, "every_s must be a number from 0.1 on, not 0"),
        ({"every_s": float("nan")}, "every_s must be"),
        ({"every_s": 1, "timezone": "Europe/Berln"}, "'Europe/Berln' is no time zone"),
        ({"every_s": 1, "timezone": "../etc/passwd"}, "is no time zone"),
        ({"at": "tomorrow"}, "at 'tomorrow' is no moment"),
        ({"every_s": 1, "overlap": "skipp"}, "overlap 'skipp' is not known. It is one of allow, skip"),
        ({"every_s": 1, "catch_up": "some"}, "catch_up 'some' is not known"),
        ({"every_s": 1, "exclude": ("christmas",)}, "exclude 'christmas' is no day"),
        ({"every_s": 1, "pause_after_failures": 0}, "pause_after_failures must be"),
        ({"solar": ("sunraise", 1, 2)}, "is no event, latitude and longitude"),
        ({"solar": ("sunrise", 91, 2)}, "is no event, latitude and longitude"),
    ],
)
def test_what_is_wrong_is_named(given: dict, words: str | None):
    if words is None:
        Plan(**given)
        return
    with pytest.raises(ConfigurationError, match=words):
        Plan(**given)


def test_a_plan_survives_json():
    plan = Plan(
        cron="0 3 * * *", timezone="Asia/Tokyo", weekdays=(1, 2), exclude=("12-25",), jitter_s=3, overlap="skip"
    )
    assert Plan.from_dict(plan.as_dict()) == plan
    with pytest.raises(ConfigurationError, match="has no field colour"):
        Plan.from_dict({"every_s": 1, "colour": "red"})
