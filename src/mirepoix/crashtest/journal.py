"""What the world outside of the database was told: requests, mails, tasks that were sent, and steps that are kept."""

from __future__ import annotations

import copy
from typing import Any


class Journal:
    """The effects of all deliveries of one task, in order. It outlives deaths; a test begins it anew."""

    def __init__(self) -> None:
        self.effects: list[dict[str, Any]] = []
        self.steps: dict[str, Any] = {}
        self.answers: dict[tuple[str, str], Any] = {}
        """What the service of the test said, by request and idempotency key."""

    def add(self, effect: dict[str, Any]) -> None:
        """Note *effect*, which has a ``kind``."""
        self.effects.append(copy.deepcopy(effect))

    def keep(self, name: str, value: Any) -> None:
        """Keep what the step *name* returned."""
        self.steps[name] = value

    def ask(self, service: Any, known: tuple[str, str] | None, said: tuple[str, str, Any]) -> Any:
        """What *service* says to a request; to one that is *known* by its key, what it said then."""
        if known is None:
            return service(*said)
        if known not in self.answers:
            self.answers[known] = service(*said)
        return self.answers[known]

    def clear(self) -> None:
        """Nothing has happened yet."""
        self.effects = []
        self.steps = {}
        self.answers = {}
