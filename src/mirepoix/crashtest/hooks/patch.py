"""Replace attributes of libraries, and restore them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any


def replace(stack: ExitStack, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Replace ``owner.name`` by the return value of *make*, until *stack* is closed."""
    is_own = name in vars(owner)
    original = getattr(owner, name)
    setattr(owner, name, make(original))
    if is_own or not isinstance(owner, type):
        stack.callback(setattr, owner, name, original)
    else:
        stack.callback(delattr, owner, name)
