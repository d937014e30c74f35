"""The definition of a schedule: which task it sends with which arguments, and its plan. It is stored as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from mirepoix.errors import ConfigurationError
from mirepoix.schedules.plan import Plan

CODE = "code"
"""The owner of a schedule that the app's code defines."""
DATABASE = "database"
"""The owner of a schedule that people add and edit."""

NAME_LIMIT = 255


@dataclass(frozen=True, slots=True)
class Definition:
    """What a schedule sends, and its plan. ``options`` are those of ``apply_async``."""

    task: str
    plan: Plan
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    def as_text(self) -> str:
        """The definition as JSON. Equal definitions give equal texts. Raises ConfigurationError."""
        found = {
            "task": self.task,
            "plan": self.plan.as_dict(),
            "args": list(self.args),
            "kwargs": dict(self.kwargs),
            "options": dict(self.options),
        }
        try:
            return json.dumps(found, sort_keys=True, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                f"The schedule of {self.task} cannot be stored: {error}. Its args, kwargs and options must be values "
                "that JSON can hold."
            ) from error

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read what `as_text` wrote. Raises ConfigurationError."""
        found = json.loads(text)
        return cls(found["task"], Plan.from_dict(found["plan"]), found["args"], found["kwargs"], found["options"])

    def differences(self, other: Definition) -> list[str]:
        """Name the fields in which *other* differs, such as ``task``, ``args`` and ``plan.cron``."""
        own, others = json.loads(self.as_text()), json.loads(other.as_text())
        plan, other_plan = own.pop("plan"), others.pop("plan")
        differing = [key for key in own if own[key] != others[key]]
        keys = sorted({*plan, *other_plan})
        return differing + [f"plan.{key}" for key in keys if plan.get(key) != other_plan.get(key)]


def check_name(name: Any) -> None:
    """Raise ConfigurationError unless *name* can name a schedule."""
    if not isinstance(name, str) or not 0 < len(name) <= NAME_LIMIT or not name.isprintable() or name != name.strip():
        raise ConfigurationError(
            f"{name!r} cannot name a schedule. A name is a printable text of 1 to {NAME_LIMIT} characters without "
            "spaces at its ends."
        )
