"""What pages need to know: the site, the user, and whether the user may."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from starlette.requests import Request

from mirepoix.dashboard.access import Role, User
from mirepoix.dashboard.errors import NotAllowed
from mirepoix.dashboard.gate import visit_of
from mirepoix.fingerprint.template import template
from mirepoix.operations.format import printable

if TYPE_CHECKING:
    from mirepoix.dashboard.site import Site

ABSENT = "[needs the role arguments]"


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


def shown_text(request: Request, text: str | None) -> str:
    """Return a reason or a message as the user may see it: without values unless they may see arguments."""
    if not text:
        return ""
    if user_of(request).may(Role.ARGUMENTS):
        return printable(site_of(request).redactor.text(text))
    return printable(template(text))


def local(values: Any) -> dict[str, Any]:
    """Return what a template gets from a dataclass: its fields and properties by name."""
    return {name: getattr(values, name) for name in dir(values) if not name.startswith("_")}
