"""The journal of effects outside the database (requests, mails, sent tasks) and of stored steps."""

from __future__ import annotations

import copy
from typing import Any


class Journal:
    """The effects of all deliveries of one task, in order. It survives crashes. `clear` empties it for a new run."""

    def __init__(self) -> None:
        self.effects: list[dict[str, Any]] = []
        self.steps: dict[str, Any] = {}
        self.answers: dict[tuple[str, str], Any] = {}
        """The answers of the test's service, by request and idempotency key."""

    def add(self, effect: dict[str, Any]) -> None:
        """Record *effect*, which has a ``kind``."""
        self.effects.append(copy.deepcopy(effect))

    def keep(self, name: str, value: Any) -> None:
        """Store the return value of the step *name*."""
        self.steps[name] = value

    def ask(self, service: Any, known: tuple[str, str] | None, request: tuple[str, str, Any]) -> Any:
        """Ask *service* about *request*. A request with a *known* key gets the first answer again."""
        if known is None:
            return service(*request)
        if known not in self.answers:
            self.answers[known] = service(*request)
        return self.answers[known]

    def clear(self) -> None:
        self.effects = []
        self.steps = {}
        self.answers = {}
