"""The lease that a worker gives to its pool with a message: packed into one header, and read where the task runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mirepoix.records import LEASE_HEADER, Lease, Taken


@dataclass(frozen=True, slots=True)
class LeaseMark:
    """What the header holds: the lease, and the moments that the message itself no longer has to wait for."""

    lease: Lease
    eta: Any = None
    """The eta as the sender wrote it."""
    expires: str | None = None
    """When the task expires, by the clock of the worker's host."""


def with_lease(headers: Mapping[str, Any], taken: Taken) -> dict[str, Any]:
    """*headers* with the lease of *taken* packed into them."""
    mark = {
        "id": taken.lease.task_id,
        "fence": taken.lease.fence,
        "worker": taken.lease.worker_id,
        "eta": headers.get("eta"),
        "expires": taken.expires,
    }
    return {**headers, LEASE_HEADER: mark}


def lease_in(headers: Any) -> LeaseMark | None:
    """The lease in *headers*; None where there is none: the message did not come from the ledger."""
    mark = headers.get(LEASE_HEADER) if isinstance(headers, dict) else None
    if not isinstance(mark, dict):
        return None
    return LeaseMark(Lease(mark["id"], mark["fence"], mark["worker"]), mark.get("eta"), mark.get("expires"))


def without_lease(headers: Mapping[str, Any]) -> dict[str, Any]:
    """*headers* without a lease: only a worker may say that it holds one."""
    return {key: value for key, value in headers.items() if key != LEASE_HEADER}
