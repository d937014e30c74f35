"""The operator: a task of Airflow that is one Celery task, however often Airflow tries it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowTaskTimeout, TaskDeferralTimeout

from mirepoix.airflow.hook import DEFAULT_CONN_ID, MirepoixHook
from mirepoix.airflow.instances import is_over
from mirepoix.airflow.key import Place
from mirepoix.airflow.links import MirepoixTaskLink
from mirepoix.airflow.outcome import TaskFailed, outcome_of
from mirepoix.airflow.submission import RerunFailed, Submission
from mirepoix.airflow.trigger import MirepoixTrigger, find, has_ended
from mirepoix.celery.handle import Handle
from mirepoix.errors import ConfigurationError, EnqueueError, ResultGone
from mirepoix.states import State

KILL_S = 4.0
"""Airflow kills the process 5 seconds after it has asked it to end."""


class MirepoixTaskOperator(BaseOperator):  # type: ignore[misc]
    """Runs the Celery task *task* once for each task instance, and returns its result, which becomes the XCom.

    *op_args* and *op_kwargs* are the task's arguments, *options* those of ``apply_async``. *conn_id* names the
    connection to the ledger. *key* stands for the task in the place of the task instance and the call, in the whole
    ledger.

    A further try of Airflow joins the task, whether it waits, runs or has ended. If it has failed, *rerun_failed*
    decides: None fails the task instance at once, without further tries; ``"requeue"`` runs the same task again;
    ``"replace"`` sends a new one. A person who clears the task instance gets a new task.

    With *deferrable* (the default) the operator takes no slot while the task waits and runs. ``execution_timeout``
    then limits the wait, and cancels the task.
    """

    template_fields: Sequence[str] = ("task", "op_args", "op_kwargs", "options", "key", "conn_id")
    operator_extra_links = (MirepoixTaskLink(),)
    ui_color: ClassVar[str] = "#e4f0e2"

    def __init__(
        self,
        *,
        task: str,
        op_args: Sequence[Any] = (),
        op_kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        key: str | None = None,
        rerun_failed: RerunFailed | None = None,
        conn_id: str = DEFAULT_CONN_ID,
        deferrable: bool = True,
        **base: Any,
    ) -> None:
        super().__init__(**base)
        if rerun_failed not in (None, "requeue", "replace"):
            raise ValueError(f"rerun_failed is {rerun_failed!r}. It may be None, 'requeue' or 'replace'.")
        self.task = task
        self.op_args = op_args
        self.op_kwargs = op_kwargs or {}
        self.options = options or {}
        self.key = key
        self.rerun_failed = rerun_failed
        self.conn_id = conn_id
        self.deferrable = deferrable
        self.link = ""
        self._handle: Handle | None = None
        self._instance: Any = None
        self._is_killed = False
        self._is_late = False

    def execute(self, context: Any) -> Any:
        """Submit the task. Defer until it has ended, or wait here."""
        hook = MirepoixHook(self.conn_id)
        self._instance = context["ti"]
        try:
            handle = self._handle = self._submission(hook.get_conn(), context).submitted()
        except (EnqueueError, ConfigurationError, TypeError) as error:
            raise AirflowFailException(f"{type(error).__name__}: {error}") from error
        if self._is_killed:
            self._cancel_if_ended()
        self.link = hook.link_to(handle.id)
        said = "is submitted" if handle.is_new else f"is joined, and is {handle.state}"
        self.log.info("Task %s[%s] %s. Its key is %s.", handle.task_name, handle.id, said, handle.key)
        if has_ended(handle):
            return self._outcome(handle)
        if self.deferrable:
            self._defer(handle)
        handle.ended().result()
        return self._outcome(handle)

    def execute_complete(self, context: Any, event: Mapping[str, Any], key: str) -> Any:
        """Return the result of the task that has ended, or raise what it raised."""
        hook = MirepoixHook(self.conn_id)
        self._instance = context["ti"]
        handle = self._handle = Handle(hook.get_conn(), key, event["ledger_id"], event["task"], is_new=False)
        self.link = hook.link_to(handle.id)
        if not has_ended(handle) and event["state"] != State.PARKED:
            self._defer(handle)  # somebody has let it run again meanwhile
        return self._outcome(handle)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Any) -> Any:
        """Cancel the task if the wait has taken longer than ``execution_timeout``."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout:
            self._cancel_after_timeout(context)
            raise

    def on_kill(self) -> None:
        """Cancel the task if a person has ended the task instance, or its time is over.

        Airflow also ends a process because its worker stops, or because another try has taken its place. Then the task
        goes on, and the next try joins it.
        """
        self._is_killed = True
        self._is_late = isinstance(sys.exc_info()[1], AirflowTaskTimeout)
        # The main thread, which this has interrupted, may be in the middle of a statement.
        cancelling = threading.Thread(target=self._cancel_if_ended, name="mirepoix-cancel", daemon=True)
        cancelling.start()
        cancelling.join(KILL_S)

    def _submission(self, app: Any, context: Any) -> Submission:
        if isinstance(self.op_args, str) or isinstance(self.op_kwargs, str):
            raise ConfigurationError(
                f"The arguments of {self.task} were rendered to a text. "
                "Give the DAG render_template_as_native_obj=True."
            )
        instance = context["ti"]
        retries = self.retries or 0
        # Airflow sets max_tries to the number of tries plus `retries` when a person clears a task instance.
        tried_at_clear = max(0, instance.max_tries - retries)
        place = Place(instance.dag_id, instance.run_id, instance.task_id, instance.map_index or 0, tried_at_clear)
        return Submission(
            app=app,
            task=self.task,
            args=list(self.op_args),
            kwargs=dict(self.op_kwargs),
            options=dict(self.options),
            place=place,
            is_further_try=instance.try_number > tried_at_clear + 1,
            rerun_failed=self.rerun_failed,
            own_key=self.key,
        )

    def _defer(self, handle: Handle) -> None:
        self.defer(
            trigger=MirepoixTrigger(self.conn_id, handle.key, handle.id, handle.task_name),
            method_name="execute_complete",
            kwargs={"key": handle.key},
            timeout=self.execution_timeout,
        )

    def _outcome(self, handle: Handle) -> Any:
        try:
            return outcome_of(handle, self.log)
        except ResultGone:
            if handle.state == State.SUCCEEDED and not self.do_xcom_push:
                return None
            raise
        except TaskFailed as error:
            is_tried_again = self._is_killed or self.rerun_failed is not None
            raise (AirflowException if is_tried_again else AirflowFailException)(str(error)) from error

    def _cancel_if_ended(self) -> None:
        if self._handle is None:
            return
        if self._is_late or is_over(self._instance):
            self._handle.cancel(terminate=True)
        else:
            self.log.info("Airflow ends this process. Task %s goes on.", self._handle.id)

    def _cancel_after_timeout(self, context: Any) -> None:
        app = MirepoixHook(self.conn_id).get_conn()
        submission = self._submission(app, context)
        found = find(app, submission.current_key())
        if found is not None:
            found.cancel(terminate=True)
