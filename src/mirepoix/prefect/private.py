"""What we take from inside Prefect, which promises none of it, with the reason."""

from __future__ import annotations

# Prefect's own collections use it for methods that are coroutines in asynchronous flows; there is no public decorator.
from prefect._internal.compatibility.async_dispatch import async_dispatch

__all__ = ["async_dispatch"]
