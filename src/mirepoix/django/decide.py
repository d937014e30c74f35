"""The admin's decisions about tasks, carried out on Django's connection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from mirepoix.celery import chords
from mirepoix.django import project
from mirepoix.operations.batches import Report, carry_out
from mirepoix.operations.decisions import CANCEL, DISCARD, REQUEUE, RETRY, Decision
from mirepoix.states import State

_NOT_FROM_HERE = {
    State.LEASED: "it is handed to a worker: revoke it with manage.py mirepoix cancel",
    State.RUNNING: "a worker is running it: end it with manage.py mirepoix cancel --terminate",
}

DECISIONS = {
    decision.verb: decision
    for decision in (RETRY, REQUEUE, replace(CANCEL, why_not={**CANCEL.why_not, **_NOT_FROM_HERE}), DISCARD)
}
"""The decisions by their verbs. A verb is also the name of a permission: ``mirepoix.retry_task``."""


def decide(decision: Decision, task_ids: Sequence[str], reason: str, by: str) -> Report:
    """Decide about these tasks in transactions of 500. Everything in the report is committed.

    With ATOMIC_REQUESTS all of it is part of the request's transaction. Raises ConfigurationError if the project's app
    does not write into this ledger, because a chord could not count a member that ends.
    """
    report = Report()
    installation = project.installation()
    return_ended = partial(chords.return_ended, installation) if decision.is_end else None
    carry_out(project.ledger(), decision, task_ids, reason, report, return_ended, by=by)
    return report
