"""The dashboard: web pages that show what became of every task, and on which people decide about tasks.

`asgi` returns an ASGI application to serve or to mount. ``mirepoix dashboard`` serves it. The pages read the ledger and
use the judges and decisions of `mirepoix.operations`, as the command line does. Needs the extra ``dashboard``.
"""

from mirepoix.errors import MissingLibrary

try:
    from mirepoix.dashboard.access import Role, User
    from mirepoix.dashboard.site import asgi
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in ("starlette", "jinja2", "markupsafe"):
        raise
    raise MissingLibrary(error.name or "", "dashboard") from error

__all__ = ["Role", "User", "asgi"]
