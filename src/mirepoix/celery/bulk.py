"""Send thousands of calls of one task in few statements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def bulk(task: Any, calls: Iterable[Sequence[Any] | Mapping[str, Any]], **options: Any) -> list[str]:
    """placeholder"""
    raise NotImplementedError
