"""What a waiting payload calls, without its values: its own task, and those that it will send when it is over."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from mirepoix.signatures.shape import Shape

LONGEST = 700
"""A longer text is not kept: MySQL cannot index it. Who needs to know then reads the payload."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of *task* by the arguments of its *version*. ``shape`` is None where only the name can be told."""

    task: str
    version: int = 1
    shape: Shape | None = None

    def __str__(self) -> str:
        """``shop.pay(·, amount=·)``, with the version if it is not the first."""
        version = f" v{self.version}" if self.version != 1 else ""
        return f"{self.task}{'' if self.shape is None else self.shape}{version}"


def to_text(own: Call, nested: Iterable[Call] = ()) -> str | None:
    """As it stands in the ledger: a JSON array of calls, the payload's own first, the others once each and in order.

    None if it would be too long to keep.
    """
    others = {_listed(call): None for call in nested}
    text = f"[{','.join([_listed(own), *sorted(others)])}]"
    return text if len(text) <= LONGEST else None


def from_text(text: str) -> list[Call]:
    """What `to_text` wrote."""
    return [_call(*one) for one in json.loads(text)]


def _listed(call: Call) -> str:
    shape = [None, None] if call.shape is None else [call.shape.positional, sorted(call.shape.keywords)]
    return json.dumps([call.task, call.version, *shape], separators=(",", ":"))


def _call(task: str, version: int, positional: int | None, keywords: list[str] | None) -> Call:
    shape = None if positional is None else Shape(positional, frozenset(keywords or ()))
    return Call(task, version, shape)
