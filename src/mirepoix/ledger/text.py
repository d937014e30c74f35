"""Text that every database stores. Messages of errors may contain any character."""

from __future__ import annotations


def storable(text: str | None) -> str | None:
    """Escape NUL and lone surrogates, which no column takes. Otherwise a failure could not be recorded."""
    if text is None:
        return None
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")
