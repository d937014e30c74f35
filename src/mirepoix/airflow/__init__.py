"""The bridge to Airflow. Its operator runs one Celery task, also if Airflow tries the operator several times.

::

    DAG:  MirepoixTaskOperator(task_id="charge", task="shop.charge", op_args=[7])  ──>  one task for each instance

The operator submits the task and defers. `MirepoixTrigger` waits for it in the triggerer. `MirepoixHook` reads from a
connection of Airflow where the ledger is, and `MirepoixTaskSensor` waits for a task that somebody else submits.
Each name is imported at its first use: Airflow imports this package to read `mirepoix.airflow.provider`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mirepoix.airflow.hook import MirepoixHook
    from mirepoix.airflow.links import MirepoixTaskLink
    from mirepoix.airflow.operator import MirepoixTaskOperator
    from mirepoix.airflow.sensor import MirepoixTaskSensor
    from mirepoix.airflow.trigger import MirepoixTrigger

__all__ = ["MirepoixHook", "MirepoixTaskLink", "MirepoixTaskOperator", "MirepoixTaskSensor", "MirepoixTrigger"]

_HOMES = {
    "MirepoixHook": "mirepoix.airflow.hook",
    "MirepoixTaskLink": "mirepoix.airflow.links",
    "MirepoixTaskOperator": "mirepoix.airflow.operator",
    "MirepoixTaskSensor": "mirepoix.airflow.sensor",
    "MirepoixTrigger": "mirepoix.airflow.trigger",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value
