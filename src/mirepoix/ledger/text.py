"""Text that any database stores: for messages of errors, which may hold anything."""

from __future__ import annotations


def storable(text: str | None) -> str | None:
    """*text* with NUL and lone surrogates as escapes: no column takes them, and no failure may be lost for it."""
    if text is None:
        return None
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")
