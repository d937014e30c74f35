"""Render pages, and the part of a page that is kept up to date while somebody reads it.

Everything between the two live marks is asked for again every few seconds. If nothing but ages has changed, the answer
is 204, and the browser changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from mirepoix.dashboard.access import Role
from mirepoix.operations.format import count, duration, memory, printable, run_time, state_word, when

_LIVE = re.compile(r"<!--live-->(.*?)<!--/live-->", re.DOTALL)
_TIME = re.compile(r"<time[^>]*>[^<]*</time>")
_SEEN = "@seen@"

NAVIGATION = (
    ("/", "Overview", "o"),
    ("/tasks", "Tasks", "t"),
    ("/failures", "Failures", "f"),
    ("/queues", "Queues", "q"),
    ("/workers", "Workers", "w"),
    ("/schedules", "Schedules", "s"),
    ("/limits", "Limits", "m"),
    ("/waiting", "Waiting for you", "p"),
    ("/chords", "Chords", "c"),
    ("/alerts", "Alerts", "l"),
    ("/audit", "Audit", "a"),
)


def environment() -> Environment:
    """Return the templates. Every value is escaped."""
    made = Environment(
        loader=PackageLoader("mirepoix.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(
        duration=duration, run_time=run_time, memory=memory, when=when, age=age, moment=moment, ago=ago,
        state=state_badge, printable=printable, pretty=pretty, number=number,
    )  # fmt: skip
    made.globals.update(count=count, nav=NAVIGATION, Role=Role)
    return made


def render(request: Request, template: str, code: int = 200, /, **values: Any) -> Response:
    """Return a page, or only its live part if the browser asks for that."""
    site = request.app.state.site
    visit = getattr(request.state, "visit", None)
    root = request.scope["root_path"]
    path = _path(request)
    asked = [(name, value) for name, value in request.query_params.multi_items() if name not in ("part", "seen")]

    def link(to: str, /, **params: Any) -> str:
        """Return the address of a page of this site, with parameters."""
        given = [(name, value) for name, value in params.items() if value not in (None, "")]
        address: str = root + quote(to, safe="/") + (f"?{urlencode(given, doseq=True)}" if given else "")
        return address

    page = site.templates.get_template(template).render(
        link=link,
        here=path,
        live_address=f"{root}{quote(path, safe='/')}?{urlencode([*asked, ('part', 'live')])}",
        visit=visit,
        user=visit.user if visit else None,
        may=lambda role: bool(visit and visit.user and visit.user.may(role)),
        now=datetime.now(UTC),
        site=site,
        **values,
    )
    live = _LIVE.search(page)
    seen = hashlib.sha256(_TIME.sub("<time>", live[1]).encode()).hexdigest()[:16] if live else ""
    if live is not None and request.query_params.get("part") == "live":
        if request.query_params.get("seen") == seen:
            return Response(status_code=204)
        return HTMLResponse(live[1].replace(_SEEN, seen), code)
    return HTMLResponse(page.replace(_SEEN, seen), code)


def _path(request: Request) -> str:
    root, path = request.scope["root_path"], str(request.scope["path"])
    return path[len(root) :] or "/" if root and path.startswith(root) else path


def age(seconds: float | None) -> Markup:
    """Write how long ago something was. The browser counts on."""
    if seconds is None:
        return Markup("")
    at = datetime.now(UTC) - timedelta(seconds=seconds)
    words = Markup('<time datetime="{}" data-age="{}" title="{}">{}</time>')
    return words.format(at.isoformat(timespec="seconds"), round(seconds), when(at), duration(seconds))


def ago(at: datetime) -> Markup:
    """Write how long ago a time was. The browser counts on."""
    return age(max(0.0, (datetime.now(UTC) - at).total_seconds()))


def moment(at: datetime | None) -> Markup:
    """Write a time with its zone."""
    if at is None:
        return Markup("")
    return Markup('<time datetime="{}">{}</time>').format(at.isoformat(timespec="seconds"), when(at))


def state_badge(state: str, has_due: bool = False) -> Markup:
    """Write a state or an outcome in its colour."""
    kind = re.sub(r"[^a-z]", "-", str(state))
    return Markup('<span class="state state-{}">{}</span>').format(kind, state_word(str(state), has_due=has_due))


def pretty(value: Any) -> Markup:
    """Write a value as JSON."""
    return escape(printable(json.dumps(value, indent=2, ensure_ascii=False)))


def number(value: float | None) -> str:
    """Write a number with separators."""
    return "" if value is None else f"{value:,}"
