"""The sensor: it waits for a task that somebody else submits under a key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from airflow.sdk import BaseSensorOperator
from airflow.sdk.bases.sensor import PokeReturnValue
from airflow.sdk.exceptions import AirflowFailException

from mirepoix.airflow.hook import DEFAULT_CONN_ID, MirepoixHook
from mirepoix.airflow.outcome import TaskFailed, outcome_of
from mirepoix.airflow.trigger import MirepoixTrigger, find, has_ended
from mirepoix.celery.handle import Handle


class MirepoixTaskSensor(BaseSensorOperator):  # type: ignore[misc]
    """Waits until the task that was submitted under *key* has ended, and returns its result.

    The key need not be there yet. If the task fails or is cancelled, so does the sensor. The sensor never cancels the
    task. With *deferrable* (the default) it takes no slot meanwhile.
    """

    template_fields: Sequence[str] = ("key", "conn_id")
    ui_color: ClassVar[str] = "#e4f0e2"

    def __init__(self, *, key: str, conn_id: str = DEFAULT_CONN_ID, deferrable: bool = True, **base: Any) -> None:
        super().__init__(**base)
        self.key = key
        self.conn_id = conn_id
        self.deferrable = deferrable

    def execute(self, context: Any) -> Any:
        """Defer until the task has ended, or look now and then."""
        if not self.deferrable:
            return super().execute(context)
        self.defer(
            trigger=MirepoixTrigger(self.conn_id, self.key, cancels=False),
            method_name="execute_complete",
            timeout=self.timeout,
        )
        return None

    def execute_complete(self, context: Any, event: Mapping[str, Any]) -> Any:
        """Return the result of the task that has ended, or raise what it raised."""
        app = MirepoixHook(self.conn_id).get_conn()
        return self._outcome(Handle(app, self.key, event["ledger_id"], event["task"], is_new=False))

    def poke(self, context: Any) -> PokeReturnValue:
        """Tell whether the task has ended."""
        found = find(MirepoixHook(self.conn_id).get_conn(), self.key)
        if found is None or not has_ended(found):
            return PokeReturnValue(is_done=False)
        return PokeReturnValue(is_done=True, xcom_value=self._outcome(found))

    def _outcome(self, handle: Handle) -> Any:
        try:
            return outcome_of(handle, self.log)
        except TaskFailed as error:
            raise AirflowFailException(str(error)) from error
