"""Read the filters of a list of tasks from an address, and write them into one: the address is the whole state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.datastructures import ImmutableMultiDict

from mirepoix.dashboard.errors import BadAddress
from mirepoix.ledger.query.tasks import Filters
from mirepoix.operations import filter_words
from mirepoix.operations.format import SCHEDULED
from mirepoix.states import State

AMONG = 30_000
"""A search by name, queue, worker, reason or argument reads only so many succeeded, cancelled and expired tasks, the
newest first. So it always ends soon: with 100,000 waiting tasks, a search that finds nothing takes about 0.15 s."""

NAMES = ("state", "name", "queue", "worker", "since", "until", "group", "because", "arg", "min_tries", "max_tries")
LONGEST = 500
MOST_ARGUMENTS = 20
MOST_TRIES = 2**31 - 1


def filters_from(given: ImmutableMultiDict[str, str]) -> Filters:
    """Return the filters that an address or a form names. Raises BadAddress with the remedy."""
    for name in NAMES:
        if any(len(value) > LONGEST or "\x00" in value for value in given.getlist(name)):
            raise BadAddress(f"The filter {name} is too long, or it has a character that no text has.")
    if len(given.getlist("arg")) > MOST_ARGUMENTS:
        raise BadAddress(f"A search is for at most {MOST_ARGUMENTS} arguments.")
    try:
        words = frozenset[str]().union(*(filter_words.states_of(text) for text in given.getlist("state") if text))
        since, until = (
            filter_words.moment_of(text) if (text := given.get(name, "")) else None for name in ("since", "until")
        )
        arguments = tuple(filter_words.argument_of(text) for text in given.getlist("arg") if text)
    except ValueError as error:
        raise BadAddress(str(error)) from None
    named = words or frozenset(State)
    # Without such a filter the index answers at once, and to count off the newest would only cost time.
    is_narrow = any(given.get(name) for name in ("name", "queue", "worker", "because", "group", "arg"))
    return Filters(
        frozenset(State.PENDING if word == SCHEDULED else State(word) for word in named),
        given.get("name") or None,
        given.get("queue") or None,
        given.get("worker") or None,
        since,
        until,
        failure_group=given.get("group") or None,
        because=given.get("because") or None,
        min_tries=_whole(given, "min_tries"),
        max_tries=_whole(given, "max_tries"),
        arguments=arguments,
        only_scheduled=SCHEDULED in named and State.PENDING not in named,
        among=AMONG if is_narrow else None,
    )


def named(given: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the filters of an address that are not empty, in a fixed order."""
    assert isinstance(given, ImmutableMultiDict)
    return [(name, value) for name in NAMES for value in given.getlist(name) if value]


def _whole(given: ImmutableMultiDict[str, str], name: str) -> int | None:
    text = given.get(name) or ""
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or int(text) > MOST_TRIES:
        raise BadAddress(f"The filter {name} must be a whole number, not {text[:50]!r}.")
    return int(text)
