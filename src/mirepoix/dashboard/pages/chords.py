"""The chords that wait: for which members, and what holds them up."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from mirepoix.dashboard.errors import NoSuchThing
from mirepoix.dashboard.pages.needs import shown_text, site_of
from mirepoix.dashboard.render import render
from mirepoix.ledger.query import chords
from mirepoix.ledger.query.chords import WaitingChord
from mirepoix.operations.chords import why_it_waits

SHOWN = 50
"""The most chords of the list."""

MEMBERS = 5_000
"""The most members that are read."""

OF_EACH = 200
"""The most members that are shown of one chord."""


def show_all(request: Request) -> Response:
    """Show those that wait, the stuck first, then the oldest."""
    site = site_of(request)
    seen = site.snapshot.get()
    with site.reading() as tx:
        found = chords.waiting(tx, SHOWN + 1)
        members = chords.unreturned(tx, [chord.group_id for chord in found[:SHOWN]], MEMBERS)
    served = {load.queue for load in seen.overview.queues if load.is_served}
    judged = [(chord, why_it_waits(chord, members.get(chord.group_id, []), served)) for chord in found[:SHOWN]]
    judged.sort(key=lambda pair: not pair[1].is_stuck)
    return render(request, "chords.html", chords=judged, has_more=len(found) > SHOWN, shown=SHOWN)


def show(request: Request) -> Response:
    """Show one chord with its members."""
    site = site_of(request)
    seen = site.snapshot.get()
    group_id = request.path_params["group_id"]
    with site.reading() as tx:
        found = None if "\x00" in group_id else chords.chord(tx, group_id)
        if found is None:
            raise NoSuchThing(f"There is no chord {group_id!r}: it never was, or it ended long ago and was pruned.")
        is_waiting = found.state == "waiting"
        members = chords.unreturned(tx, [group_id], MEMBERS).get(group_id, []) if is_waiting else []
        returned = chords.returned(tx, group_id, OF_EACH) if is_waiting else []
    served = {load.queue for load in seen.overview.queues if load.is_served}
    waits = None
    if is_waiting:
        as_waiting = WaitingChord(group_id, found.size, found.done, found.created_at, found.waits_s)
        waits = why_it_waits(as_waiting, members, served)
    return render(
        request,
        "chord.html",
        chord=found,
        waits=waits,
        members=[(line, shown_text(request, line.reason)) for line in members[:OF_EACH]],
        more=len(members[OF_EACH:]),
        returned=returned,
    )
