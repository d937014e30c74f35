"""The fire times of an event of the sun at a place on Earth, computed by `ephem` as `celery.schedules.solar` does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from typing import Any

from mirepoix.errors import ConfigurationError

EVENTS = {
    "dawn_astronomical": ("next_rising", "-18", True),
    "dawn_nautical": ("next_rising", "-12", True),
    "dawn_civil": ("next_rising", "-6", True),
    "sunrise": ("next_rising", "-0:34", False),
    "solar_noon": ("next_transit", "0", False),
    "sunset": ("next_setting", "-0:34", False),
    "dusk_civil": ("next_setting", "-6", True),
    "dusk_nautical": ("next_setting", "-12", True),
    "dusk_astronomical": ("next_setting", "-18", True),
}
"""For each event the method of an observer, the horizon, and whether the centre of the sun counts."""

_SEARCHED_DAYS = 400
"""Within a year of a polar night each event happens again, or never."""
_APART = timedelta(hours=1)
"""The same event never happens twice within so short a time."""


def check(given: tuple[str, float, float]) -> None:
    """Raise ConfigurationError unless *given* is an event, a latitude and a longitude."""
    try:
        event, latitude, longitude = given
        is_valid = event in EVENTS and -90 <= latitude <= 90 and -180 <= longitude <= 180  # noqa: PLR2004 (degrees)
    except (TypeError, ValueError):
        is_valid = False
    if not is_valid:
        raise ConfigurationError(
            f"solar {given!r} is no event, latitude and longitude. The events are {', '.join(EVENTS)}."
        )
    _ephem()


def after(given: tuple[str, float, float], moment: datetime) -> Iterator[datetime]:
    """Return the times of the event after *moment*, in UTC, cut to whole seconds, in order.

    Each search begins at a midnight in UTC, so that an event has the same time wherever the search was begun.
    """
    event, latitude, longitude = given
    method, horizon, is_centre = EVENTS[event]
    ephem = _ephem()
    sun, observer = ephem.Sun(), ephem.Observer()
    observer.lat, observer.lon, observer.horizon = str(latitude), str(longitude), horizon
    observer.elevation = observer.pressure = 0
    options = {"use_center": True} if is_centre else {}
    day = datetime.combine(moment.astimezone(UTC).date(), time())
    days_without = 0
    while days_without < _SEARCHED_DAYS:
        days_without += 1
        begin, next_day = day, day + timedelta(days=1)
        while begin < next_day:
            try:
                found = getattr(observer, method)(sun, start=begin, **options).datetime()
            except ephem.CircumpolarError:
                break
            fires_at = found.replace(microsecond=0, tzinfo=UTC)
            if found < next_day and fires_at > moment:
                days_without = 0
                yield fires_at
            begin = found + _APART
        day = next_day


def _ephem() -> Any:
    try:
        import ephem  # an extra
    except ImportError as error:
        raise ConfigurationError("Solar schedules need ephem: pip install 'celery[solar]'.") from error
    return ephem
