"""What pages need to know: the site, the user, and whether the user may."""

from __future__ import annotations

import inspect
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from starlette.requests import Request

from mirepoix.dashboard.access import Role, User
from mirepoix.dashboard.errors import BadAddress, NotAllowed
from mirepoix.dashboard.gate import visit_of
from mirepoix.dashboard.tracebacks import ShownFrame, own_frames
from mirepoix.fingerprint.template import template
from mirepoix.ledger.query.tasks import Filters
from mirepoix.operations.format import printable

if TYPE_CHECKING:
    from mirepoix.dashboard.site import Site

ABSENT = "[needs the role arguments]"
_RAISED = re.compile(r"([A-Za-z_][\w.]*): .")
"""The beginning of an exception's text: its type, and its message."""


def site_of(request: Request) -> Site:
    """Return the site that the request is for."""
    return cast("Site", request.app.state.site)


def user_of(request: Request) -> User:
    """Return who asks. The gate lets nobody else in."""
    user = visit_of(request).user
    assert user is not None
    return user


def require(request: Request, role: Role) -> User:
    """Return who asks, or raise NotAllowed."""
    user = user_of(request)
    if not user.may(role):
        raise NotAllowed(role)
    return user


def require_filters(request: Request, filters: Filters) -> None:
    """Raise BadAddress if the filters look at what the user may not see, or at what is hidden from everybody.

    A glob of the reason would tell the reason letter by letter.
    """
    user = user_of(request)
    if (filters.arguments or filters.because) and not user.may(Role.ARGUMENTS):
        raise BadAddress("Searching for arguments or reasons needs the role 'arguments'.")
    hidden = [keyword for keyword, _ in filters.arguments if keyword and site_of(request).redactor.hides(keyword)]
    if hidden:
        raise BadAddress(f"The values of {hidden[0]!r} are hidden, so they cannot be searched.")


def shown_text(request: Request, text: str | None) -> str:
    """Return a reason or a message as the user may see it: without values unless they may see arguments."""
    if not text:
        return ""
    if user_of(request).may(Role.ARGUMENTS):
        return printable(site_of(request).redactor.text(text))
    # What raised an error may have written anything into its message.
    raised = _RAISED.match(text)
    return f"{printable(raised[1])}: {ABSENT}" if raised else printable(template(text))


def shown_message(request: Request, text: str | None) -> str:
    """Return the message of an exception as the user may see it."""
    return shown_text(request, text) if user_of(request).may(Role.ARGUMENTS) or not text else ABSENT


def shown_frames(request: Request, traceback: str | None) -> list[ShownFrame]:
    """Return the user's own frames, without what is hidden. They are nobody's who may not see tracebacks."""
    if not user_of(request).may(Role.ARGUMENTS):
        return []
    hide = site_of(request).redactor.text
    return [replace(frame, code=hide(frame.code)) for frame in own_frames(traceback or "")]


def local(values: Any) -> dict[str, Any]:
    """Return what a template gets from a dataclass: its fields and properties by name."""
    return {name: getattr(values, name) for name in dir(values) if not name.startswith("_")}


def parameters_of(request: Request, name: str) -> list[str]:
    """Return the names of the positional parameters of a task, as far as this process has its code."""
    site = site_of(request)
    task = site.installation.app.tasks.get(name) if site.has_app else None
    if task is None:
        return []
    try:
        found = inspect.signature(task.run).parameters.values()
    except (TypeError, ValueError):
        return []
    return [one.name for one in found if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
