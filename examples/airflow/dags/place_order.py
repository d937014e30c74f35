"""The DAG: each of its five steps is one Celery task."""

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from mirepoix.airflow import MirepoixTaskOperator

ORDER_ID, CENTS = "{{ params.order_id }}", "{{ params.cents }}"


def step(name: str, *args: Any) -> MirepoixTaskOperator:
    return MirepoixTaskOperator(task_id=name, task=f"shop.{name}", op_args=list(args))


with DAG(
    "place-order",
    schedule=None,
    params={"order_id": 0, "cents": 0},
    default_args={"retries": 3, "retry_delay": timedelta(0)},  # for deaths of Airflow's processes
    render_template_as_native_obj=True,
):
    first = [step("reserve", ORDER_ID), step("charge", ORDER_ID, CENTS), step("pack", ORDER_ID), step("ship", ORDER_ID)]
    confirm = step("confirm", ORDER_ID, [one.output for one in first])
    first[0] >> first[1] >> first[2] >> first[3] >> confirm
