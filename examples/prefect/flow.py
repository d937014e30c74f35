"""The flow: each of its five steps is one Celery task. ``python flow.py RUN_ID`` runs it, or runs it again."""

import sys
from typing import Any

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow

from mirepoix.prefect import MirepoixCredentials, MirepoixTask

shop = MirepoixCredentials(app="tasks:app")


def run_task(name: str, *args: Any) -> Any:
    run = MirepoixTask(credentials=shop, task=f"shop.{name}", args=list(args)).trigger()
    run.wait_for_completion()
    return run.fetch_result()


@flow(name="place-order")
def place_order(order_id: int, cents: int) -> list[str]:
    steps = [
        run_task("reserve", order_id),
        run_task("charge", order_id, cents),
        run_task("pack", order_id),
        run_task("ship", order_id),
    ]
    return [*steps, run_task("confirm", order_id, steps)]


if __name__ == "__main__":
    with get_client(sync_client=True) as client:
        flow_run = client.read_flow_run(sys.argv[1])
    steps = run_flow(place_order, flow_run=flow_run, parameters=flow_run.parameters)
    print(f"Order {flow_run.parameters['order_id']} is done: {', '.join(steps)}.", flush=True)
