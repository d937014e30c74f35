"""Log in and out. The session's id is new after each of them."""

from __future__ import annotations

import logging

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from mirepoix.dashboard.access import User
from mirepoix.dashboard.gate import cookie, own_path, visit_of
from mirepoix.dashboard.pages.needs import site_of
from mirepoix.dashboard.render import render
from mirepoix.operations.format import one_line

logger = logging.getLogger("mirepoix.dashboard")


def ask(request: Request) -> Response:
    """Show the form."""
    return render(request, "login.html", wrong="", name="", back=own_path(request.query_params.get("next", "/")))


def log_in(request: Request) -> Response:
    """Check the name and the password."""
    site, visit = site_of(request), visit_of(request)
    name, back = visit.first("name"), own_path(visit.first("next", "/"))
    if not site.wrong_passwords.try_from(visit.address):
        wrong = "Too many wrong passwords came from your address. Wait for five minutes."
        return render(request, "login.html", 429, wrong=wrong, name=name, back=back)
    user = site.access.of_password(name, visit.first("password"))
    if user is None:
        logger.warning("a login as %s from %s was refused", one_line(name)[:100], visit.address)
        return render(request, "login.html", 401, wrong="The name or the password is wrong.", name=name, back=back)
    site.wrong_passwords.was_right(visit.address)
    return _admit(request, user, back)


def enter(request: Request) -> Response:
    """Log in by the token of the link that the command printed."""
    site, visit = site_of(request), visit_of(request)
    if not site.wrong_passwords.try_from(visit.address):
        return render(request, "error.html", 429, code=429, words="Too many wrong links. Wait for five minutes.")
    user = site.access.of_token(request.query_params.get("token", ""))
    if user is None:
        return render(request, "error.html", 401, code=401, words="This link is not good any more. Start it again.")
    site.wrong_passwords.was_right(visit.address)
    return _admit(request, user, "/")


def log_out(request: Request) -> Response:
    """End the session."""
    site, visit = site_of(request), visit_of(request)
    site.sessions.end(visit.session)
    root = request.scope["root_path"]
    answer = RedirectResponse(f"{root}/login" if site.access.has_login else f"{root}/", 303)
    answer.headers["set-cookie"] = cookie("", request.scope, visit.is_secure, lasts_s=0)
    return answer


def _admit(request: Request, user: User, back: str) -> Response:
    site, visit = site_of(request), visit_of(request)
    site.sessions.end(visit.session)  # an id that somebody planted before the login is worth nothing now
    session = site.sessions.new(user.name, site.access.stamp(user.name))
    logger.info("%s logged in from %s", one_line(user.name), visit.address)
    answer = RedirectResponse(request.scope["root_path"] + back, 303)
    answer.headers["set-cookie"] = cookie(site.sessions.written(session), request.scope, visit.is_secure)
    return answer
