"""Pack a lease into a header of the message that a worker gives to its pool, and read it where the task runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mirepoix.records import LEASE_HEADER, Lease, Taken


@dataclass(frozen=True, slots=True)
class LeaseMark:
    """The content of the header: the lease, and the moments that the message itself no longer has."""

    lease: Lease
    eta: Any = None
    """The eta in the sender's form."""
    expires: str | None = None
    """When the task expires, by the clock of the worker's host."""
    queue: str = ""
    waited_s: float | None = None
    taken_at: float | None = None
    """The queue that the task was taken from, how long it had waited there, and when that was by the worker's clock."""


def with_lease(headers: Mapping[str, Any], taken: Taken) -> dict[str, Any]:
    """*headers* with the lease of *taken* in one more header."""
    mark = {
        "id": taken.lease.task_id,
        "fence": taken.lease.fence,
        "worker": taken.lease.worker_id,
        "eta": headers.get("eta"),
        "expires": taken.expires,
        "queue": taken.queue,
        "waited_s": taken.waited_s,
        "taken_at": taken.taken_at,
    }
    return {**headers, LEASE_HEADER: mark}


def lease_in(headers: Any) -> LeaseMark | None:
    """The lease in *headers*; None if there is none, since the message did not come from the ledger."""
    mark = headers.get(LEASE_HEADER) if isinstance(headers, dict) else None
    if not isinstance(mark, dict):
        return None
    return LeaseMark(
        Lease(mark["id"], mark["fence"], mark["worker"]),
        mark.get("eta"),
        mark.get("expires"),
        mark.get("queue", ""),
        mark.get("waited_s"),
        mark.get("taken_at"),
    )


def without_lease(headers: Mapping[str, Any]) -> dict[str, Any]:
    """*headers* without a lease. Only a worker may add one, so senders' leases are removed."""
    return {key: value for key, value in headers.items() if key != LEASE_HEADER}
