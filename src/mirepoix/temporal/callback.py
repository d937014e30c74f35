"""How the ledger keeps by which token an activity is completed."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass

NAMESPACE_LIMIT = 200


@dataclass(frozen=True, slots=True)
class Callback:
    """The latest attempt of an activity, and whether Temporal may try again what has failed."""

    token: bytes
    is_retryable: bool

    @staticmethod
    def to(token: bytes, *, is_retryable: bool) -> str:
        """The text for the ledger."""
        return json.dumps({"token": base64.b64encode(token).decode("ascii"), "is_retryable": is_retryable})

    @classmethod
    def read(cls, text: str) -> Callback:
        """What `to` wrote."""
        found = json.loads(text)
        return cls(base64.b64decode(found["token"]), found["is_retryable"])


def callback_to(namespace: str) -> str:
    """Who is to tell the server of the ends of tasks: the workers of that namespace."""
    return f"temporal:{namespace[:NAMESPACE_LIMIT]}"
