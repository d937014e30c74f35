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
}
"""What passes on Redis and not here, by intent."""

ELSEWHERE_TOO: dict[str, str] = {
    "t/integration/test_canvas.py::test_chord::test_chord_on_error": "fails on Celery's own Redis backend as well",
    "t/integration/test_redis_backend.py::test_pubsub_*": "a test of Celery's Redis client; fails on Redis as well",
    "t/integration/test_worker.py::test_pidbox_reset_after_repeated_control_errors": (
        "fails on Celery's own Redis broker as well"
    ),
}
"""What does not pass on Redis either, with the versions of today."""


def reason_for(test: str) -> str | None:
    """Why *test* is expected to fail; None if it is not."""
    for pattern, reason in (DEVIATIONS | ELSEWHERE_TOO).items():
        if fnmatchcase(test, pattern):
            return reason
    return None
