"""Read which releases of the user's code the workers run, and when each was first seen."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from mirepoix.ledger.query.values import known_moment
from mirepoix.ledger.tx import Tx

RELEASE = "release"
"""The key of a worker's software under which it names the setting ``release``."""


@dataclass(frozen=True, slots=True)
class Release:
    """A release of the user's code. ``alive`` workers run it now.

    ``first_at`` is when the first worker with it was registered, as far as the ledger still has that worker: workers
    that ended long ago are deleted.
    """

    name: str
    first_at: datetime
    alive: int


def releases(tx: Tx) -> list[Release]:
    """Return the releases that workers named, the newest first."""
    found: dict[str, Release] = {}
    for row in tx.fetch("seen_releases"):
        name = json.loads(row.software).get(RELEASE)
        if name:
            at, known = known_moment(row.first_at), found.get(name)
            first_at = at if known is None else min(at, known.first_at)
            found[name] = Release(name, first_at, int(row.alive) + (0 if known is None else known.alive))
    return sorted(found.values(), key=lambda release: release.first_at, reverse=True)
