"""The tests of Celery's suite that do not pass on the ledger, each with the reason (see docs/reference/conformance.md).

With ``scripts/conformance --expected`` these are marked as expected failures, and anything else that fails fails the
run. Without it they fail, as they are.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

DEVIATIONS: dict[str, str] = {
    "t/integration/test_canvas.py::test_chord::test_generator[[]*]": (
        "a chord's header is written in one transaction, all of it or nothing: its members start when all are sent"
    ),
    "t/integration/test_tasks.py::test_tasks::test_task_sent_event_respects_publish_retry_limit": (
        "a task-sent event is a row of the sender's transaction: the sender publishes nothing that could fail"
    ),
    "t/integration/test_inspect.py::test_Inspect::test_scheduled": (
        "a task with an ETA waits in the ledger, not in a worker"
    ),
}
"""What passes on Redis and not here, by intent."""

NOT_APPLICABLE: dict[str, str] = {
    "t/integration/test_canvas.py::test_chord::test_chord_on_error": "reads the parts of a chord from a Redis list",
    "t/integration/test_redis_backend.py::*": "a test of Celery's Redis backend, its keys and its client",
    "t/integration/test_tasks.py::test_task_redis_result_backend::test_asyncresult_*_cancels_subscription": (
        "counts Redis' subscriptions"
    ),
}
"""What looks into Redis itself."""

ELSEWHERE_TOO: dict[str, str] = {
    "t/integration/test_worker.py::test_pidbox_reset_after_repeated_control_errors": (
        "fails on Celery's own Redis as well, at the end of a whole session"
    ),
}
"""What does not pass on Redis either, with the versions of today."""


def reason_for(test: str) -> str | None:
    """Why *test* is expected to fail; None if it is not."""
    for pattern, reason in (DEVIATIONS | NOT_APPLICABLE | ELSEWHERE_TOO).items():
        if fnmatchcase(test, pattern):
            return reason
    return None
