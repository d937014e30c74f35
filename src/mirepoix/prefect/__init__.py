"""Prefect and Celery: a job block whose run is one Celery task, however often the flow is run again.

::

    flow:  MirepoixTask(credentials=..., task="shop.charge").trigger()  ──>  one task for each flow run and call

`MirepoixCredentials` says where the ledger is. Importing this module registers both blocks.
"""

from mirepoix.prefect.credentials import MirepoixCredentials
from mirepoix.prefect.job import MirepoixTask, MirepoixTaskRun

__all__ = ["MirepoixCredentials", "MirepoixTask", "MirepoixTaskRun"]
