"""Compare file names without the parts that change with each run: clocks, counters and UUIDs."""

from __future__ import annotations

import re
from collections import Counter

_UUID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.IGNORECASE)
_NUMBER = re.compile(r"\d+")


def pattern(name: str) -> str:
    """Replace the changing parts of *name* by placeholders."""
    return _NUMBER.sub("<n>", _UUID.sub("<uuid>", name))


def volatile_names(first: dict[str, bytes], second: dict[str, bytes]) -> frozenset[str]:
    """Return the patterns of the names in which two clean runs differ, or none if the patterns differ too."""
    left = Counter(pattern(name) for name in first.keys() - second.keys())
    right = Counter(pattern(name) for name in second.keys() - first.keys())
    return frozenset(left) if left == right else frozenset()


def named(files: dict[str, bytes], patterns: frozenset[str]) -> dict[str, bytes]:
    """Rename *files* that match *patterns* to the pattern. A second file gets a ``+``. Shorter files come last."""
    found: dict[str, bytes] = {}
    for name, content in sorted(files.items(), key=lambda item: (-len(item[1]), item[0])):
        called = pattern(name) if pattern(name) in patterns else name
        while called in found:
            called += "+"
        found[called] = content
    return found
