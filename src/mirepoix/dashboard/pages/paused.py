"""What is paused, in lines, for people who may see the values of keys of limits and for others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from starlette.requests import Request

from mirepoix.dashboard.access import Role
from mirepoix.dashboard.pages.needs import user_of
from mirepoix.ledger.holds import Hold
from mirepoix.ledger.query.audit import Act
from mirepoix.operations import steering
from mirepoix.operations.steering import Waiting


def paused_lines(request: Request, paused: Sequence[Waiting]) -> list[tuple[Hold | None, str]]:
    """Return each pause, for the form that resumes it, with its line. None: this person may not see what it names."""
    may_see = user_of(request).may(Role.ARGUMENTS)
    found: list[tuple[Hold | None, str]] = []
    for one in paused:
        shown = one if may_see else replace(one, hold=steering.without_value(one.hold))
        found.append((one.hold if shown.hold == one.hold else None, steering.sentence(shown)))
    return found


def without_values(request: Request, acts: Sequence[Act]) -> list[Act]:
    """Return the acts, without the values of keys of limits if this person may not see them."""
    if user_of(request).may(Role.ARGUMENTS):
        return list(acts)
    return [
        replace(act, words=steering.key_without_value(act.words))
        if act.kind == "pause" and act.words.startswith("limit ")
        else act
        for act in acts
    ]
