"""Submit the task of a task instance: join the task that an earlier try sent, run it again, or send another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mirepoix.airflow.ends import ENDED, FAILED
from mirepoix.airflow.key import Place, fitting, hash_of
from mirepoix.airflow.trigger import find
from mirepoix.celery.handle import Handle
from mirepoix.celery.submit import submit_within
from mirepoix.errors import ConfigurationError
from mirepoix.ledger import operate, results
from mirepoix.ledger.keys import Claimed
from mirepoix.ledger.tx import Tx
from mirepoix.states import State

RerunFailed = Literal["requeue", "replace"]

MOST_REPLACEMENTS = 1_000


@dataclass(frozen=True, slots=True)
class Submission:
    """The call of one try of a task instance."""

    app: Any
    task: str
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    options: Mapping[str, Any]
    place: Place
    is_further_try: bool
    rerun_failed: RerunFailed | None
    own_key: str | None = None
    """It stands for the task in the place of the task instance and the call."""

    def submitted(self) -> Handle:
        """Submit the task; return the task that has the key then. Raises what `mirepoix.submit_once` raises."""
        if self.place.tried_at_clear and self.own_key is None:
            self._cancel_before_clear()
        return self._submit(self.current_key())

    def current_key(self) -> str:
        """Return the key of the task that this try submits, joins or waits for."""
        key = self._key()
        return self._key_of_replacement(key) if self.is_further_try and self.rerun_failed == "replace" else key

    def _key(self) -> str:
        if self.own_key is not None:
            return self.own_key
        return self.place.key(hash_of(self.task, self.args, self.kwargs))

    def _submit(self, key: str) -> Handle:
        task = self.app.signature(self.task)
        within = self._requeue if self.is_further_try else None
        return submit_within(task, key, self.args, self.kwargs, self.options, within)

    def _requeue(self, tx: Tx, claimed: Claimed) -> None:
        """Run the task again that an earlier try has cancelled when its process was ended, or that has failed."""
        state = results.find(tx, [claimed.task_id])[0].task_state
        if state == State.CANCELLED or (self.rerun_failed == "requeue" and state in FAILED):
            operate.requeue(tx, [claimed.task_id], "tried again by Airflow")

    def _key_of_replacement(self, key: str) -> str:
        """Return the first key under which no task has failed."""
        for number in range(1, MOST_REPLACEMENTS):
            numbered = key if number == 1 else fitting(f"{key}/{number}")
            found = find(self.app, numbered)
            if found is None or found.state not in FAILED:
                return numbered
        raise ConfigurationError(f"{self.task} has failed {MOST_REPLACEMENTS} times under the key {key!r}.")

    def _cancel_before_clear(self) -> None:
        """Cancel the tasks of the tries before the clear, if no triggerer was there to do it."""
        call = hash_of(self.task, self.args, self.kwargs)
        for tried in range(self.place.tried_at_clear):
            found = find(self.app, self.place.before(tried).key(call))
            if found is not None and found.state is not None and found.state not in ENDED:
                found.cancel(terminate=True)
