"""The account of every task in the ledger: sent = ended + kept + waiting + held. It counts only when it is asked to."""

from __future__ import annotations

import time

from starlette.requests import Request
from starlette.responses import Response

from mirepoix.dashboard.pages.needs import site_of
from mirepoix.dashboard.render import render
from mirepoix.ledger import operate
from mirepoix.ledger.query.account import account


def show(request: Request) -> Response:
    """Count, and show it. It reads the whole table, which takes seconds for millions of tasks."""
    if request.query_params.get("count") != "1":
        return render(request, "account.html", account=None, size=None, took_s=0.0)
    began = time.perf_counter()
    with site_of(request).reading() as tx:
        found, size = account(tx), operate.size(tx)
    return render(request, "account.html", account=found, size=size, took_s=time.perf_counter() - began)
