"""Keep the tasks of a preview until its user confirms it, so that exactly these tasks are decided about."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from mirepoix.ledger.query.tasks import Version

MOST = 1_000
MOST_OF_A_USER = 20
GOOD_FOR_S = 900.0


@dataclass(frozen=True, slots=True)
class Preview:
    """The tasks that a user saw, and the verb that was asked for."""

    user: str
    verb: str
    versions: Mapping[str, Version]
    """The tasks as they were."""
    back: str
    made_at: float = field(default_factory=time.monotonic)


class Previews:
    """The previews of this process. Each is used once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: OrderedDict[str, Preview] = OrderedDict()

    def keep(self, preview: Preview) -> str:
        """Keep a preview; return its id."""
        key = secrets.token_urlsafe(16)
        with self._lock:
            self._found[key] = preview
            own = [other for other, found in self._found.items() if found.user == preview.user]
            for other in own[:-MOST_OF_A_USER]:
                del self._found[other]
            while len(self._found) > MOST:
                self._found.popitem(last=False)
        return key

    def take(self, key: str, user: str) -> Preview | None:
        """Return the preview of that user and forget it; None if there is none, or it is too old."""
        with self._lock:
            found = self._found.get(key)
            if found is None or found.user != user:
                return None
            del self._found[key]
        return found if time.monotonic() - found.made_at < GOOD_FOR_S else None
