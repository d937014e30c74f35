"""The workflow of an order. Each step is a Celery task, run once for this workflow."""

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from mirepoix.temporal import run_task


@workflow.defn
class PlaceOrder:
    @workflow.run
    async def run(self, order_id: int, cents: int) -> list[str]:
        within = {"heartbeat_timeout": timedelta(seconds=3)}
        steps = [await run_task("shop.reserve", [order_id], **within)]
        steps.append(await run_task("shop.charge", [order_id, cents], **within))
        steps.append(await run_task("shop.pack", [order_id], **within))
        steps.append(await run_task("shop.ship", [order_id], **within))
        steps.append(await run_task("shop.confirm", [order_id, steps], **within))
        return steps
