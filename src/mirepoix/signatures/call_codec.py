"""Encode the calls of a waiting payload without their values: its own call, and the calls that it sends later."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from mirepoix.signatures.shape import Shape

LONGEST = 700
"""A longer text is not stored, because MySQL cannot index it. Readers then decode the payload."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of *task* with the arguments of its *version*. ``shape`` is None if only the name is known."""

    task: str
    version: int = 1
    shape: Shape | None = None

    def __str__(self) -> str:
        """Return ``shop.pay(·, amount=·)``, with the version if it is not 1."""
        version = f" v{self.version}" if self.version != 1 else ""
        return f"{self.task}{'' if self.shape is None else self.shape}{version}"


def to_text(own: Call, nested: Iterable[Call] = ()) -> str | None:
    """Encode calls as the ledger stores them: a JSON array, the payload's own call first, the others once, in order.

    Returns None if the text would be too long.
    """
    others = {_listed(call): None for call in nested}
    text = f"[{','.join([_listed(own), *sorted(others)])}]"
    return text if len(text) <= LONGEST else None


def from_text(text: str) -> list[Call]:
    """Decode the text that `to_text` wrote."""
    return [_call(*call) for call in json.loads(text)]


def _listed(call: Call) -> str:
    shape = [None, None] if call.shape is None else [call.shape.positional, sorted(call.shape.keywords)]
    return json.dumps([call.task, call.version, *shape], separators=(",", ":"))


def _call(task: str, version: int, positional: int | None, keywords: list[str] | None) -> Call:
    shape = None if positional is None else Shape(positional, frozenset(keywords or ()))
    return Call(task, version, shape)
