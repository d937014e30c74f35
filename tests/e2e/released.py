"""Tasks of the shop in three releases, which RELEASE in the environment chooses, for workers told to include this.

Release 2 changes three of them as nobody should: one is renamed, one gets an argument more, one loses one. Release 3
makes the same changes with an alias and upcasters.
"""

from __future__ import annotations

import os
from typing import Any

from shop import app, run

RELEASE = int(os.environ.get("RELEASE", "1"))


def does(task: Any, **given: Any) -> None:
    with run(task, release=RELEASE, given=given):
        pass


if RELEASE == 1:

    @app.task(bind=True, name="released.bill")
    def bill(self: Any, order: int) -> None:
        does(self, order=order)

    @app.task(bind=True, name="released.charge")
    def charge(self: Any, order: int) -> None:
        does(self, order=order)

    @app.task(bind=True, name="released.ship")
    def ship(self: Any, order: int, note: str) -> None:
        does(self, order=order, note=note)

elif RELEASE == 2:

    @app.task(bind=True, name="released.invoice")
    def invoice(self: Any, order: int) -> None:
        does(self, order=order)

    @app.task(bind=True, name="released.charge")
    def charge(self: Any, order: int, currency: str) -> None:
        does(self, order=order, currency=currency)

    @app.task(bind=True, name="released.ship")
    def ship(self: Any, order: int) -> None:
        does(self, order=order)

else:

    @app.task(bind=True, name="released.invoice", aliases=["released.bill"])
    def invoice(self: Any, order: int) -> None:
        does(self, order=order)

    @app.task(bind=True, name="released.charge", version=2)
    def charge(self: Any, order: int, currency: str) -> None:
        does(self, order=order, currency=currency)

    @charge.upcast(from_version=1)
    def _(order: int) -> dict[str, Any]:
        return {"order": order, "currency": "EUR"}

    @app.task(bind=True, name="released.ship", version=2)
    def ship(self: Any, order: int) -> None:
        does(self, order=order)

    @ship.upcast(from_version=1)
    def _(order: int, note: str) -> tuple[list[int], dict[str, Any]]:
        return [order], {}


@app.task(bind=True, name="released.pack")
def pack(self: Any, order: int) -> int:
    """The same in every release; what is sent after it is not."""
    does(self, order=order)
    return order


@app.task(bind=True, name="released.again", version=RELEASE, max_retries=2)
def again(self: Any, *seen: int) -> None:
    """Retries itself once; each upcaster on the way adds its number."""
    with run(self, release=RELEASE, given=list(seen)):
        if self.request.retries == 0:
            raise self.retry(countdown=0)


if RELEASE > 1:

    @again.upcast(from_version=1)
    def _(*seen: int) -> tuple[list[int], dict[str, Any]]:
        return [*seen, 1], {}


if RELEASE > 2:

    @again.upcast(from_version=2)
    def _(*seen: int) -> tuple[list[int], dict[str, Any]]:
        if 666 in seen:
            raise ValueError("an upcaster that fails")
        return [*seen, 2], {}
