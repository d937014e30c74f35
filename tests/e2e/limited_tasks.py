"""Tasks of the shop with limits."""

from __future__ import annotations

from typing import Any

from shop import app, run, wait_for

import mirepoix


@app.task(bind=True, limit=mirepoix.Limit(running=2, key="customer"))
def export(self: Any, customer: str, name: str = "") -> str:
    """Run until the test makes a file of that name."""
    with run(self, customer=customer):
        if name:
            wait_for(name)
    return customer


@app.task(bind=True, limit=mirepoix.Limit(rate="3/s"))
def charge(self: Any) -> None:
    """Tell that it ran."""
    with run(self):
        pass


@app.task(bind=True, max_retries=2, limit=mirepoix.Limit(running=1, name="again", key=lambda who: who.lower()))
def again(self: Any, who: str) -> None:
    """Ask to run again once."""
    with run(self):
        if not self.request.retries:
            raise self.retry(countdown=0)


@app.task(bind=True, max_retries=2, limit=mirepoix.Limit(running=1, key="customer", at_limit="drop"))
def sync(self: Any, customer: str, name: str = "") -> None:
    """Ask to run again once, and run until the test makes a file of that name."""
    with run(self, customer=customer):
        if not self.request.retries:
            raise self.retry(countdown=0)
        if name:
            wait_for(name)


@app.task(bind=True, limit=mirepoix.Limit(running=1, key="customer", at_limit="cancel"))
def render(self: Any, customer: str, name: str = "") -> None:
    """Run until the test makes a file of that name."""
    with run(self, customer=customer):
        if name:
            wait_for(name)


@app.task(bind=True, rate_limit="120/m")
def slowly(self: Any) -> None:
    """Tell that it ran."""
    with run(self):
        pass
