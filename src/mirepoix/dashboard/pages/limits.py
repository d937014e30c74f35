"""The limits: what each allows, which keys are at their limit with how many tasks waiting, and set and reset."""

from __future__ import annotations

from collections.abc import Container
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from mirepoix.celery.limits import bounds_of, rate_text
from mirepoix.dashboard.access import Role
from mirepoix.dashboard.errors import BadAddress, NoSuchThing
from mirepoix.dashboard.gate import visit_of
from mirepoix.dashboard.pages.needs import ABSENT, require, site_of, user_of
from mirepoix.dashboard.render import render
from mirepoix.errors import ConfigurationError
from mirepoix.ledger import holds
from mirepoix.ledger import limits as ledger
from mirepoix.ledger.holds import Kind
from mirepoix.ledger.limits import Limit
from mirepoix.ledger.query.limits import READY_MOST, KeyInUse, KeysInUse, keys_in_use
from mirepoix.operations import limits
from mirepoix.operations.format import count, duration, one_line

KEYS = 100
LONGEST = 300
LONGEST_REASON = 1_000


def show(request: Request) -> Response:
    """Show all limits, or one of them, with the keys that are in use."""
    name, value = (_text(request.query_params.get(field, "")) for field in ("limit", "key"))
    may_see = user_of(request).may(Role.ARGUMENTS)
    if value and not (name and may_see):
        raise BadAddress("Keys are found by their limit and their beginning, and need the role 'arguments'.")
    site = site_of(request)
    queues = [load.queue for load in site.snapshot.get().overview.queues]
    with site.reading() as tx:
        known = ledger.read(tx)
        lines = limits.lines(tx)
        paused = {hold.value for hold in holds.read(tx) if hold.kind is Kind.LIMIT}
        found = keys_in_use(tx, queues, known, KEYS, name, value)
    if name and name not in known and not found.shown:
        raise NoSuchThing("The ledger has no limit of that name.")
    one = known.get(name)
    return render(
        request,
        "limits.html",
        lines=[(line, limits.words(known[line.name].bounds)) for line in lines if name in ("", line.name)],
        found=found,
        keys=[(key, _shown(key.value, may_see=may_see), *_words(key, paused)) for key in found.shown],
        paused=paused,
        may_steer=user_of(request).may(Role.ACT) and may_see,
        more=_more(found),
        name=name,
        value=value,
        one=one,
        running="" if one is None else "any" if one.bounds.running is None else one.bounds.running,
        rate="" if one is None else rate_text(one.bounds),
        is_changed=one is not None and one.source == ledger.OPERATOR,
        of_code="" if one is None or one.code is None else limits.words(one.code),
        ready_most=READY_MOST,
    )


def change(request: Request) -> Response:
    """Set the values of a limit, or let those of the code count again. Workers follow within a second."""
    user, visit, site = require(request, Role.ACT), visit_of(request), site_of(request)
    verb, reason = visit.first("verb"), one_line(visit.first("reason"))[:LONGEST_REASON]
    with site.reading() as tx:
        limit = ledger.read(tx).get(visit.first("limit"))
    if limit is None:
        raise NoSuchThing("The ledger has no limit of that name.")
    connection = site.installation.source
    if verb == "set":
        try:
            bounds = bounds_of(limit.bounds, visit.first("running").strip(), visit.first("rate").strip())
        except ConfigurationError as error:
            raise BadAddress(f"{error} Nothing was changed.") from None
        limits.put(connection, limit, bounds, user.name, reason)
    elif verb == "reset":
        limits.reset(connection, limit, user.name, reason)
    else:
        raise BadAddress("A limit can be set or reset.")
    is_there = verb == "set" or limit.code is not None
    to = f"/limits?{urlencode({'limit': limit.name})}" if is_there else "/limits"
    return RedirectResponse(f"{request.scope['root_path']}{to}", 303)


def _text(text: str) -> str:
    if len(text) > LONGEST or "\x00" in text:
        raise BadAddress("This is too long, or it has a character that no name has.")
    return text


def _shown(value: str, *, may_see: bool) -> str:
    """Return the value of a key, which is made of arguments."""
    return "" if not value else one_line(value) if may_see else ABSENT


def _words(key: KeyInUse, paused: Container[str]) -> tuple[str, str, str]:
    """Return the state of a key, how many of its tasks are with workers, and what its rate allows."""
    limit: Limit | None = key.limit
    is_paused = key.key in paused or key.name in paused
    if limit is None:
        return "paused" if is_paused else "no limit", f"{key.held:,}", ""
    most = limit.bounds.running
    held = f"{key.held:,}" if most is None else f"{key.held:,} of {most:,}"
    return "paused" if is_paused else "at limit" if key.is_full else "has room", held, _rate(key, limit)


def _rate(key: KeyInUse, limit: Limit) -> str:
    if limit.bounds.rate is None:
        return ""
    if not key.rate.tasks:
        return f"the next in {duration(key.rate.next_in_s) or '0s'}"
    return f"{key.rate.tasks:,} of {limit.bounds.rate:,} left"


def _more(found: KeysInUse) -> str:
    """Say how many keys are not shown."""
    if not found.more and not found.has_more:
        return ""
    many = "More than " if found.has_more else ""
    return f"{many}{count(found.more, 'more key')} in use."
