"""A task of the shop that takes and returns a model of pydantic's, for workers that are told to include it."""

# No postponed annotations: Celery 5.5 looks for models in them, and would find texts.
import asyncio

from pydantic import BaseModel
from shop import app


class Order(BaseModel):
    """What pydantic makes of arguments and results."""

    number: int


@app.task(name="async.validated", pydantic=True)
async def async_validated(order: Order) -> Order:
    """Take a model and return one."""
    await asyncio.sleep(0)
    return Order(number=order.number + 1)
